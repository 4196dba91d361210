//! File systems in memory that a template asks for.

use skep_spawner::{Mount, MountKind, MountOptions};

use super::paths::clean;

/// `--tmpfs PATH:OPTIONS`; Docker adds noexec, nosuid and nodev where nobody says otherwise.
pub(super) fn read(target: &str, options: &str) -> Result<Mount, String> {
    let mut flags = MountOptions {
        no_suid: true,
        no_devices: true,
        no_exec: true,
        ..MountOptions::default()
    };
    let mut rest = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "exec" => flags.no_exec = false,
            "suid" => flags.no_suid = false,
            "dev" => flags.no_devices = false,
            "ro" => flags.read_only = true,
            "noexec" | "nosuid" | "nodev" | "rw" => {}
            sized
                if ["size=", "mode=", "uid=", "gid=", "nr_inodes="]
                    .iter()
                    .any(|name| sized.starts_with(name)) =>
            {
                rest.push(sized);
            }
            other => {
                return Err(format!(
                    "the lean engine does not mount a tmpfs at {target} with {other}"
                ));
            }
        }
    }
    Ok(Mount {
        kind: MountKind::Tmpfs {
            source: "tmpfs".to_owned(),
            options: rest.join(","),
        },
        target: clean(target),
        options: flags,
    })
}
