//! Skep's own cgroup tree: found out which version the node has, made once, cleared of what a crash left, laid out
//! for each template.

mod home;
mod v1;
mod v2;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal};
use skep_model::Namespace;
use skep_spawner::Tree;

use crate::host::Host;
use crate::limits::{Conversions, Limits};

pub(crate) use v1::Hierarchy;
pub(crate) use v2::UnifiedFacts;

/// Where version 2 is mounted, and below which version 1 is.
const MOUNT: &str = "/sys/fs/cgroup";

/// Which version the node has, with what Skep needs to know of it.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Version 1, hierarchy by hierarchy; version 2 may be mounted beside it, without controllers ("hybrid").
    Separate(Vec<Hierarchy>),
    /// Version 2.
    Unified(UnifiedFacts),
}

impl Kind {
    /// Looks at this node, and changes nothing.
    ///
    /// # Errors
    /// Why instances can have no limits here, as sentences for the operator.
    pub(crate) fn probe(conversions: Conversions) -> Result<Self, Vec<String>> {
        const UNIFIED: u64 = 0x6367_7270;
        let mounted = rustix::fs::statfs(MOUNT);
        if mounted.is_ok_and(|found| found.f_type as u64 == UNIFIED) {
            return v2::probe(conversions).map(Self::Unified);
        }
        v1::probe().map(Self::Separate)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Separate(_) => write!(f, "cgroup v1"),
            Self::Unified(_) => write!(
                f,
                "cgroup v2 (the kernel takes the program that guards devices; Skep's cgroups go {})",
                home::description()
            ),
        }
    }
}

/// Skep's tree for one namespace.
#[derive(Debug)]
pub(crate) struct Cgroups {
    tree: Own,
    /// Held by who mends it; true once it is removed for good.
    ended: Mutex<bool>,
    /// How often it was mended.
    mended: AtomicU64,
    /// Why it could not be.
    broken: Mutex<Option<Arc<str>>>,
}

#[derive(Debug)]
enum Own {
    Separate(v1::Cgroups),
    Unified(v2::Cgroups),
}

impl Cgroups {
    /// Makes the tree, and removes the cgroups of instances that are no more. A process that is still in one was left
    /// behind by a Skep that was killed, and is killed.
    ///
    /// # Errors
    /// What can't be done, with the folder and the kernel's answer.
    pub(crate) fn prepare(host: &Host, namespace: &Namespace) -> Result<Self, String> {
        let tree = match &host.cgroup {
            Kind::Separate(hierarchies) => v1::Cgroups::prepare(hierarchies, namespace)
                .map(Own::Separate)
                .map_err(|error| format!("Skep's cgroups can't be made: {error}")),
            Kind::Unified(facts) => {
                let usual = Limits::usual(host.conversions);
                v2::Cgroups::prepare(facts, namespace, &usual).map(Own::Unified)
            }
        };
        Ok(Self {
            tree: tree?,
            ended: Mutex::default(),
            mended: AtomicU64::new(0),
            broken: Mutex::default(),
        })
    }

    /// Where instances with these limits get their cgroups, and what is written there.
    ///
    /// # Errors
    /// What the kernel answers where their common folder can't be made or guarded.
    pub(crate) fn tree(&self, limits: &Limits) -> io::Result<Tree> {
        match &self.tree {
            Own::Separate(own) => Ok(own.tree(limits)),
            Own::Unified(own) => own.tree(limits),
        }
    }

    /// The same below a cgroup that others may have part in as well, where that can be given.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn tree_below(&self, limits: &Limits, parent: Option<&str>) -> io::Result<Tree> {
        match (&self.tree, parent) {
            (Own::Separate(own), Some(parent)) => own.tree_below(limits, parent),
            _ => self.tree(limits),
        }
    }

    /// Whether [`Cgroups::tree_below`] gives what it is asked for.
    pub(crate) fn has_common(&self) -> bool {
        matches!(self.tree, Own::Separate(_))
    }

    /// Ends what is left of instances by these names below a cgroup of their own.
    pub(crate) fn clear_below(&self, parent: &str, names: &[String]) {
        if let Own::Separate(own) = &self.tree {
            own.clear_below(parent, names);
        }
    }

    /// What freezes one instance.
    pub(crate) fn freezer(&self, limits: &Limits, instance: &str) -> Freezer {
        match &self.tree {
            Own::Separate(own) => own.freezer(instance),
            Own::Unified(own) => own.freezer(limits, instance),
        }
    }

    /// Whether nobody is taking it away right now, as far as that can be told at once.
    pub(crate) fn is_kept(&self) -> bool {
        match &self.tree {
            Own::Separate(_) => true,
            Own::Unified(own) => own.is_kept(),
        }
    }

    /// Why it could not be made again when somebody had taken it away.
    pub(crate) fn broken(&self) -> Option<Arc<str>> {
        lock(&self.broken).clone()
    }

    /// How often it was made again: other than before a launch, the launch may fail for that and be tried again.
    pub(crate) fn mended(&self) -> u64 {
        self.mended.load(Ordering::Acquire)
    }

    /// Makes again, in the same place, what somebody took away. It waits for the kernel, and for systemd.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn mend(&self) -> Result<(), Arc<str>> {
        let ended = lock(&self.ended);
        if *ended {
            return Err("Skep is ending".into());
        }
        let made = match &self.tree {
            Own::Separate(own) => own.lay_out().map_err(|error| error.to_string()),
            Own::Unified(own) => own.mend(),
        };
        match made {
            Ok(missed) => {
                if missed {
                    self.mended.fetch_add(1, Ordering::AcqRel);
                    tracing::warn!("somebody took Skep's cgroups away; they were made again");
                }
                *lock(&self.broken) = None;
                Ok(())
            }
            Err(error) => {
                let reason: Arc<str> = format!(
                    "somebody took Skep's cgroups away or made them read-only, and they can't be made again: {error}"
                )
                .into();
                if lock(&self.broken).replace(reason.clone()).is_none() {
                    tracing::error!(%reason, "the lean engine makes no instances");
                }
                Err(reason)
            }
        }
    }

    /// Ends every instance, and removes what it had. It waits for the kernel, up to a second for each.
    pub(crate) fn clear(&self) {
        match &self.tree {
            Own::Separate(own) => own.clear(),
            Own::Unified(own) => own.clear(),
        }
    }

    /// Removes the tree, at the end of the process.
    pub(crate) fn remove(&self) {
        *lock(&self.ended) = true;
        match &self.tree {
            Own::Separate(own) => own.remove(),
            Own::Unified(own) => own.remove(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many processes may be beside this one, where its cgroup bounds them.
pub(crate) fn bound_of_processes(process: i64) -> Option<String> {
    let cgroups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let file = cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let hierarchy = match controllers {
            "" => Path::new(MOUNT).to_owned(),
            some if some.split(',').any(|controller| controller == "pids") => Path::new(MOUNT).join(some),
            _ => return None,
        };
        let file = hierarchy.join(path).join("pids.max");
        file.exists().then_some(file)
    })?;
    let bound = std::fs::read_to_string(file).ok()?.trim().to_owned();
    (bound != "max").then_some(bound)
}

/// The file that freezes an instance's processes, and what is written there.
#[derive(Debug)]
pub(crate) struct Freezer {
    file: PathBuf,
    frozen: &'static str,
    thawed: &'static str,
}

impl Freezer {
    /// The file stands elsewhere than in Skep's own tree.
    pub(crate) fn stands_at(&mut self, file: PathBuf) {
        self.file = file;
    }

    /// Freezes or thaws.
    ///
    /// # Errors
    /// What the kernel answers; `NotFound` once the instance is gone.
    pub(crate) fn set(&self, frozen: bool) -> io::Result<()> {
        std::fs::write(&self.file, if frozen { self.frozen } else { self.thawed })
    }
}

/// How often, and for how long, an ended cgroup is waited for: the kernel lets go of it a little after its end.
const TRIES: u32 = 200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// Ends what runs in a cgroup and removes it, as far as the kernel lets go of it within a second.
fn end(folder: &Path, end_processes: impl Fn(&Path)) {
    for _ in 0..TRIES {
        end_processes(folder);
        if std::fs::remove_dir(folder).is_ok() || !folder.exists() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Kills one process after the other; a fork may be faster, so that this is done again until none is left.
fn kill_each(folder: &Path) {
    let processes = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for process in processes
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter_map(Pid::from_raw)
    {
        // Ended in the meantime is as good.
        let _killed = rustix::process::kill_process(process, Signal::KILL);
    }
}

/// Whether what is mounted there lets anybody write.
fn writable(folder: &Path) -> bool {
    let flags = rustix::fs::statvfs(folder).map(|found| found.f_flag);
    flags.is_ok_and(|flags| !flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The folders in a folder.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
