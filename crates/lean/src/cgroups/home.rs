//! Where Skep's part of the cgroup v2 tree is: in its own unit where systemd delegated it, else in a scope of its own
//! in `skep.slice` (systemd wants to be the only one who writes elsewhere), and without systemd in `/skep`.
//!
//! In version 2 a cgroup that gives controllers on may have no processes itself, so whoever is in the way moves into
//! a leaf.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use skep_model::Namespace;

use super::v2::{enable, end_all, not_given};
use super::{MOUNT, folders};

/// The slice that systemd makes for Skep.
const SLICE: &str = "skep.slice";
/// The leaf for the process that keeps a scope, or for Skep itself in its own unit.
const LEAF: &str = "main";
/// Beside the leaf: what is Skep's to lay out.
const INSTANCES: &str = "instances";

/// A folder for the instances of one namespace, and what keeps it there.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    /// Where a scope was made: the process without which systemd would take it away. It ends with its input.
    keeper: Mutex<Option<Child>>,
}

/// Where it would be, for a Skep that is no unit of systemd's itself.
pub(super) fn description() -> String {
    if has_systemd() {
        format!("into a scope in {SLICE}")
    } else {
        format!("below {MOUNT}/skep")
    }
}

fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

impl Home {
    /// Finds the place and makes it Skep's own.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn find(namespace: &Namespace, controllers: &[String]) -> Result<Self, String> {
        if let Some(unit) = delegated() {
            return Self::below(&unit, controllers, None);
        }
        if has_systemd() {
            let (scope, keeper) = scope(namespace)?;
            return Self::below(&scope, controllers, Some(keeper));
        }
        let shared = Path::new(MOUNT).join("skep");
        let folder = shared.join(namespace.as_str());
        let made = fs::create_dir_all(&folder);
        made.map_err(|error| format!("the cgroup {} can't be made: {error}", folder.display()))?;
        for level in [Path::new(MOUNT), &shared, &folder] {
            give_on(level, controllers)?;
        }
        Ok(Self {
            folder,
            keeper: Mutex::new(None),
        })
    }

    /// In a unit that systemd left to Skep.
    fn below(unit: &Path, controllers: &[String], keeper: Option<Child>) -> Result<Self, String> {
        let (leaf, folder) = (unit.join(LEAF), unit.join(INSTANCES));
        let failed = |error| format!("the cgroup {} can't be laid out: {error}", unit.display());
        for made in [&leaf, &folder] {
            fs::create_dir_all(made).map_err(failed)?;
        }
        for process in processes(unit) {
            fs::write(leaf.join("cgroup.procs"), process.to_string()).map_err(failed)?;
        }
        // systemd gives on only those that it knows, and Docker's runtime all that there are: on every level.
        let levels: Vec<&Path> = unit
            .ancestors()
            .take_while(|level| level.starts_with(MOUNT))
            .collect();
        for level in levels.iter().skip(1).rev() {
            enable(level, controllers);
        }
        give_on(unit, controllers)?;
        give_on(&folder, controllers)?;
        Ok(Self {
            folder,
            keeper: Mutex::new(keeper),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves it, at the end of the process; what stands in it is gone already.
    pub(super) fn leave(&self) {
        // Another namespace may still be beside it; then the shared folder stays.
        let parent = self.folder.parent().filter(|parent| parent.ends_with("skep"));
        let _emptied = fs::remove_dir(&self.folder).and_then(|()| parent.map_or(Ok(()), fs::remove_dir));
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut keeper) = keeper {
            drop(keeper.stdin.take());
            let _ended = keeper.wait();
        }
    }
}

fn give_on(folder: &Path, controllers: &[String]) -> Result<(), String> {
    enable(folder, controllers);
    let missing = not_given(folder);
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the cgroup {} can't give on the controllers {}",
        folder.display(),
        missing.join(", ")
    ))
}

/// The cgroup that a process is in, below [`MOUNT`].
fn cgroup_of(process: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(MOUNT).join(path))
}

fn processes(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Skep's own cgroup, where systemd left it to its unit (`Delegate=yes`) and nobody else is in it.
fn delegated() -> Option<PathBuf> {
    let own = cgroup_of("self")?;
    // After a start in the same unit, for one that replaced itself, this is already the leaf.
    let unit = if own.ends_with(LEAF) {
        own.parent()?.to_owned()
    } else {
        own.clone()
    };
    let mut value = [0_u8; 8];
    let marked = ["trusted.delegate", "user.delegate"].into_iter().any(|name| {
        let length = rustix::fs::getxattr(&unit, name, &mut value[..]);
        length.is_ok_and(|length| length == 1 && value[0] == b'1')
    });
    let ours = [&own, &unit]
        .into_iter()
        .flat_map(|cgroup| processes(cgroup))
        .all(is_own);
    (marked && ours).then_some(unit)
}

/// Whether a process is this one or a child of it.
fn is_own(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let own = std::process::id();
    process == own || parent.and_then(|parent| parent.trim().parse().ok()) == Some(own)
}

/// Asks systemd for a scope of Skep's own. It stands as long as a process is in it: one that waits for the end of its
/// input, which comes with the end of Skep, however that happens.
fn scope(namespace: &Namespace) -> Result<(PathBuf, Child), String> {
    let prefix = format!("skep-{namespace}-");
    sweep(&prefix);
    let unit = format!("{prefix}{}.scope", std::process::id());
    let failed =
        |error: &dyn std::fmt::Display| format!("systemd does not give Skep a scope in {SLICE}: {error}");
    let mut keeper = Command::new("systemd-run")
        .args([
            "--scope",
            "--quiet",
            "--collect",
            "--slice",
            SLICE,
            "--unit",
            &unit,
        ])
        .args([
            "--property",
            "Delegate=yes",
            "--description",
            "Instances of Skep",
            "--",
            "cat",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal is for Skep, which may go on for a while.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(&format!("systemd-run: {error}")))?;
    let said = keeper.stdin.as_mut().map(|input| input.write_all(b"."));
    let mut heard = [0];
    let answered = keeper.stdout.take().map(|mut output| output.read(&mut heard));
    // It answers once it is what systemd-run became, in the scope.
    match (said, answered) {
        (Some(Ok(())), Some(Ok(1))) => {}
        _ => {
            let mut why = String::new();
            let _silent = keeper
                .stderr
                .take()
                .map(|mut error| error.read_to_string(&mut why));
            let _ended = keeper.kill().and_then(|()| keeper.wait());
            return Err(failed(&why.trim()));
        }
    }
    let cgroup = cgroup_of(&keeper.id().to_string()).filter(|cgroup| cgroup.ends_with(&unit));
    match cgroup {
        Some(cgroup) => Ok((cgroup, keeper)),
        None => {
            drop(keeper.stdin.take());
            let _ended = keeper.wait();
            Err(failed(&format!("{unit} is not where it was asked for")))
        }
    }
}

/// Ends what a Skep that was killed, and its spawner with it, left running in a scope that nobody keeps any more.
fn sweep(prefix: &str) {
    for scope in folders(&Path::new(MOUNT).join(SLICE)) {
        let name = scope
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let number = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(".scope"));
        let made_by_skep = number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if made_by_skep && processes(&scope.join(LEAF)).is_empty() {
            end_all(&scope.join(INSTANCES));
        }
    }
}
