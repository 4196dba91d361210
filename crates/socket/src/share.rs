//! Holding all children of a function to one amount of memory and CPUs together.
//!
//! Where the engine keeps its cgroups itself (driver `cgroupfs`) and they can be reached from here, the children of a
//! function stand below one cgroup with the granted limits: a child that names no limit of its own then uses what
//! the others leave, and the kernel holds the sum. Elsewhere each such child gets an even share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skep_model::{FunctionName, Namespace, Spawn};

/// The least memory that is worth giving to a container.
const LEAST_MEMORY: u64 = 16 << 20;
/// The most processes of all children of a function together: eight times a child's own bound would be all that many
/// a kernel has for everybody.
const PIDS: u32 = 4096;

/// How long a cgroup that was just prepared is taken to be as it was left: its function may make a hundred children a
/// second, and each write is one of the kernel's slower calls.
const FRESH: Duration = Duration::from_secs(1);

/// What was written into a function's cgroup, by its name, and when.
type Prepared = Arc<Mutex<HashMap<String, (u64, u64, Instant)>>>;

/// How shares are given on this node.
#[derive(Debug, Clone)]
pub(crate) enum Shares {
    /// By a common cgroup; the folders that stand for `/` in the hierarchies, and whether it is cgroup v2.
    Together {
        memory: PathBuf,
        cpu: PathBuf,
        unified: bool,
        prepared: Prepared,
    },
    /// Evenly.
    Evenly,
}

/// What one child without limits of its own gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) parent: Option<String>,
    pub(crate) memory: Option<u64>,
    pub(crate) nano_cpus: Option<u64>,
}

impl Shares {
    /// Looks at this node and what the engine says of itself.
    pub(crate) fn find(driver: &str, cgroup_version: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let unified = cgroup_version == "2";
        let (memory, cpu) = if unified {
            (root.to_owned(), root.to_owned())
        } else {
            (root.join("memory"), root.join("cpu"))
        };
        let writable = |path: &Path| {
            let access = rustix::fs::Access::WRITE_OK;
            rustix::fs::access(path, access).is_ok() && rustix::process::geteuid().is_root()
        };
        if driver == "cgroupfs" && writable(&memory) && writable(&cpu) {
            Self::Together {
                memory,
                cpu,
                unified,
                prepared: Prepared::default(),
            }
        } else {
            Self::Evenly
        }
    }

    /// The share of a child of this function, which names these limits itself.
    pub(crate) fn of(&self, namespace: &Namespace, function: &FunctionName, spawn: &Spawn) -> Share {
        if let Self::Together {
            memory,
            cpu,
            unified,
            prepared,
        } = self
        {
            let parent = format!("/skep-children/{namespace}/{function}");
            let mut prepared = prepared.lock().unwrap_or_else(PoisonError::into_inner);
            let there = memory.join(parent.trim_start_matches('/')).is_dir();
            let is_fresh = there
                && prepared.get(&parent).is_some_and(|(memory, cpus, when)| {
                    (*memory, *cpus) == (spawn.memory, spawn.nano_cpus) && when.elapsed() < FRESH
                });
            let written = if is_fresh {
                Ok(())
            } else {
                prepare(memory, cpu, *unified, &parent, spawn)
            };
            match written {
                Ok(()) => {
                    if !is_fresh {
                        prepared.insert(parent.clone(), (spawn.memory, spawn.nano_cpus, Instant::now()));
                    }
                    return Share {
                        parent: Some(parent),
                        ..Share::default()
                    };
                }
                Err(error) => tracing::warn!(%error, parent, "no common cgroup; children get even shares"),
            }
        }
        let max = u64::from(spawn.max);
        Share {
            parent: None,
            memory: Some((spawn.memory / max).max(LEAST_MEMORY).min(spawn.memory)),
            nano_cpus: Some((spawn.nano_cpus / max).max(10_000_000).min(spawn.nano_cpus)),
        }
    }

    /// The functions of a namespace that have such a cgroup, whoever made it.
    pub(crate) fn left(&self, namespace: &Namespace) -> Vec<String> {
        let Self::Together { memory, .. } = self else {
            return Vec::new();
        };
        let folders = std::fs::read_dir(memory.join("skep-children").join(namespace.as_str()));
        let folders = folders
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_dir());
        folders
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Removes the cgroup of a function that has no children any more.
    pub(crate) fn forget(&self, namespace: &Namespace, function: &str) {
        if let Self::Together {
            memory,
            cpu,
            prepared,
            ..
        } = self
        {
            let parent = format!("/skep-children/{namespace}/{function}");
            prepared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&parent);
            let below = ["", namespace.as_str(), function].map(str::to_owned);
            for root in [memory, cpu] {
                // Docker makes the parent in every hierarchy.
                let hierarchies = root.parent().map(std::fs::read_dir).and_then(Result::ok);
                let hierarchies = hierarchies
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path());
                for hierarchy in hierarchies.chain([root.clone()]) {
                    let own = hierarchy.join("skep-children");
                    for depth in (1..=below.len()).rev() {
                        // Refused by the kernel where something still stands below.
                        let folder: PathBuf = below[1..depth].iter().collect();
                        drop(std::fs::remove_dir(own.join(folder)));
                    }
                }
            }
        }
    }
}

fn prepare(memory: &Path, cpu: &Path, unified: bool, parent: &str, spawn: &Spawn) -> std::io::Result<()> {
    let below = parent.trim_start_matches('/');
    let (memory, cpu) = (memory.join(below), cpu.join(below));
    std::fs::create_dir_all(&memory)?;
    std::fs::create_dir_all(&cpu)?;
    let period = 100_000;
    let quota = (spawn.nano_cpus / 10_000).max(1000);
    let write = |path: PathBuf, text: String| std::fs::write(path, text);
    if unified {
        let mut at = PathBuf::from("/sys/fs/cgroup");
        for part in below.split('/') {
            // Already on where the engine itself runs its containers.
            drop(std::fs::write(
                at.join("cgroup.subtree_control"),
                "+memory +cpu +pids",
            ));
            at = at.join(part);
        }
        drop(std::fs::write(
            at.join("cgroup.subtree_control"),
            "+memory +cpu +pids",
        ));
        drop(write(memory.join("memory.swap.max"), "0".to_owned()));
        drop(write(memory.join("pids.max"), PIDS.to_string()));
        write(memory.join("memory.max"), spawn.memory.to_string())?;
        return write(cpu.join("cpu.max"), format!("{quota} {period}"));
    }
    // Lowering fails while more is in use; then the old limit holds until it is not.
    drop(write(memory.join("memory.use_hierarchy"), "1".to_owned()));
    drop(write(
        memory.join("memory.limit_in_bytes"),
        spawn.memory.to_string(),
    ));
    let pids = Path::new("/sys/fs/cgroup/pids");
    if pids.is_dir() && std::fs::create_dir_all(pids.join(below)).is_ok() {
        drop(write(pids.join(below).join("pids.max"), PIDS.to_string()));
    }
    // Not on every node: swap is counted only where the kernel was told to.
    drop(write(
        memory.join("memory.memsw.limit_in_bytes"),
        spawn.memory.to_string(),
    ));
    write(cpu.join("cpu.cfs_period_us"), period.to_string())?;
    write(cpu.join("cpu.cfs_quota_us"), quota.to_string())
}
