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
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skep_model::Namespace;

use super::v2::{enable, end_all, not_given};
use super::{MOUNT, folders};

/// The slice that systemd makes for Skep.
const SLICE: &str = "skep.slice";
/// The leaf for the process that keeps a scope, or for Skep itself in its own unit.
const LEAF: &str = "main";
/// Beside the leaf: what is Skep's to lay out.
const INSTANCES: &str = "instances";

/// How long systemd may take to end a scope of which every process was killed, and how often it is asked.
const SCOPE_ENDS: Duration = Duration::from_secs(10);
const SCOPE_LOOK: Duration = Duration::from_millis(20);

/// A folder for the instances of one namespace, and what keeps it there.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    place: Place,
    controllers: Vec<String>,
}

#[derive(Debug)]
enum Place {
    /// A unit that systemd left to Skep.
    Unit(PathBuf),
    /// A scope of this name.
    Scope {
        unit: String,
        cgroup: PathBuf,
        /// The process without which systemd would take the scope away. It ends with its input.
        keeper: Mutex<Option<Child>>,
    },
    /// Skep's own folder at the root of the tree, with one for each namespace.
    Shared(PathBuf),
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
        let place = if let Some(unit) = delegated() {
            Place::Unit(unit)
        } else if has_systemd() {
            let prefix = format!("skep-{namespace}-");
            sweep(&prefix);
            let unit = format!("{prefix}{}.scope", std::process::id());
            let (cgroup, keeper) = scope(&unit)?;
            let keeper = Mutex::new(Some(keeper));
            Place::Scope { unit, cgroup, keeper }
        } else {
            Place::Shared(Path::new(MOUNT).join("skep"))
        };
        let folder = match &place {
            Place::Unit(unit) | Place::Scope { cgroup: unit, .. } => unit.join(INSTANCES),
            Place::Shared(shared) => shared.join(namespace.as_str()),
        };
        let home = Self {
            folder,
            place,
            controllers: controllers.to_vec(),
        };
        home.lay_out()?;
        Ok(home)
    }

    /// Makes the folders that are missing, and gives every controller on.
    fn lay_out(&self) -> Result<(), String> {
        match &self.place {
            Place::Unit(unit) | Place::Scope { cgroup: unit, .. } => self.lay_out_below(unit),
            Place::Shared(shared) => {
                let made = fs::create_dir_all(&self.folder);
                made.map_err(|error| format!("the cgroup {} can't be made: {error}", self.folder.display()))?;
                for level in [Path::new(MOUNT), shared, &self.folder] {
                    give_on(level, &self.controllers)?;
                }
                Ok(())
            }
        }
    }

    fn lay_out_below(&self, unit: &Path) -> Result<(), String> {
        let leaf = unit.join(LEAF);
        let failed = |error| format!("the cgroup {} can't be laid out: {error}", unit.display());
        for made in [&leaf, &self.folder] {
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
            enable(level, &self.controllers);
        }
        give_on(unit, &self.controllers)?;
        give_on(&self.folder, &self.controllers)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether nobody ends it: systemd stops a scope for whoever asks for that, and begins with the process that
    /// keeps it.
    pub(super) fn is_kept(&self) -> bool {
        match &self.place {
            Place::Scope { keeper, .. } => {
                let mut keeper = lock(keeper);
                keeper
                    .as_mut()
                    .is_some_and(|keeper| matches!(keeper.try_wait(), Ok(None)))
            }
            Place::Unit(_) | Place::Shared(_) => true,
        }
    }

    /// Makes it again where somebody took it away, in the same place. What still runs in a scope that is being
    /// stopped is ended first, as whoever stops it wants. It waits for systemd.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn make_again(&self) -> Result<(), String> {
        if let Place::Scope { unit, cgroup, keeper } = &self.place
            && !(self.is_kept() && cgroup.is_dir())
        {
            let ended = lock(keeper).take();
            end(ended);
            end_all(&self.folder);
            let next = scope_again(unit)?;
            *lock(keeper) = Some(next);
        }
        self.lay_out()
    }

    /// Leaves it, at the end of the process; what stands in it is gone already.
    pub(super) fn leave(&self) {
        let emptied = fs::remove_dir(&self.folder);
        match &self.place {
            // Another namespace may still be beside it; then the shared folder stays.
            Place::Shared(shared) => drop(emptied.and_then(|()| fs::remove_dir(shared))),
            Place::Scope { keeper, .. } => {
                let keeper = lock(keeper).take();
                end(keeper);
            }
            Place::Unit(_) => {}
        }
    }
}

fn lock(keeper: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    keeper.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a scope's keeper end.
fn end(keeper: Option<Child>) {
    if let Some(mut keeper) = keeper {
        drop(keeper.stdin.take());
        let _ended = keeper.wait();
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

/// The same scope once more, as soon as systemd has let go of the one that was stopped.
fn scope_again(unit: &str) -> Result<Child, String> {
    let begin = Instant::now();
    loop {
        match scope(unit) {
            Ok((_, keeper)) => return Ok(keeper),
            Err(error) if begin.elapsed() > SCOPE_ENDS => return Err(error),
            Err(_) => std::thread::sleep(SCOPE_LOOK),
        }
    }
}

/// Asks systemd for a scope of Skep's own. It stands as long as a process is in it: one that waits for the end of its
/// input, which comes with the end of Skep, however that happens.
fn scope(unit: &str) -> Result<(PathBuf, Child), String> {
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
            unit,
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
    let cgroup = cgroup_of(&keeper.id().to_string()).filter(|cgroup| cgroup.ends_with(unit));
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
