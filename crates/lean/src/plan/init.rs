//! `--init`: Docker's own small first process, which reaps orphans and hands signals on.

use std::path::{Path, PathBuf};

use skep_spawner::{Mount, MountKind, MountOptions, Process, Propagation};

/// Where Docker shows it inside.
const INSIDE: &str = "/sbin/docker-init";
/// Where packages put it, besides the folders of `PATH`.
const USUAL: [&str; 8] = [
    "/usr/local/libexec/docker",
    "/usr/libexec/docker",
    "/usr/local/lib/docker",
    "/usr/lib/docker",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
];

/// Finds the program that the engine names (`docker info`: Init Binary).
pub(crate) fn find(named: &str) -> Option<PathBuf> {
    let named = if named.is_empty() { "docker-init" } else { named };
    if Path::new(named).is_absolute() {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = USUAL.iter().map(PathBuf::from).chain(std::env::split_paths(&own));
    folders
        .map(|folder| folder.join(named))
        .find(|path| path.is_file())
}

/// Puts it before a command, where there is one.
pub(crate) fn before(arguments: &mut Vec<String>) {
    if !arguments.is_empty() {
        arguments.splice(0..0, [INSIDE.to_owned(), "--".to_owned()]);
    }
}

/// Shows it inside, and puts it before the command. Who brings another command is shown it as well.
pub(crate) fn apply(program: &Path, process: &mut Process, mounts: &mut Vec<Mount>) {
    before(&mut process.arguments);
    mounts.push(Mount {
        kind: MountKind::Bind {
            source: program.display().to_string(),
            recursive: false,
            create: false,
            propagation: Propagation::default(),
        },
        target: INSIDE.to_owned(),
        options: MountOptions {
            read_only: true,
            ..MountOptions::default()
        },
    });
}
