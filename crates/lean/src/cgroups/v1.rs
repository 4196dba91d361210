//! Cgroup v1: one tree in each hierarchy, below `/skep/NAMESPACE`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use skep_model::Namespace;
use skep_spawner::{CgroupDirectory, Tree};

use super::{Freezer, end, folders, kill_each, writable};
use crate::limits::{Limits, Setting};

/// The name of Skep's folder at the root of each hierarchy.
const ROOT: &str = "skep";

/// What instances can't do without.
const NEEDED: [&str; 4] = ["memory", "pids", "devices", "freezer"];

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// The name below `/sys/fs/cgroup`.
    pub(crate) name: String,
    pub(crate) mount: PathBuf,
    pub(crate) controllers: Vec<String>,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }
}

/// The hierarchies of this node.
pub(super) fn probe() -> Result<Vec<Hierarchy>, Vec<String>> {
    let found = hierarchies(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|wanted| !found.iter().any(|hierarchy| hierarchy.has(wanted)))
        .collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let missing = missing.join(", ");
    Err(vec![format!(
        "the cgroup controllers {missing} are mounted neither as version 1 nor as version 2 below /sys/fs/cgroup"
    )])
}

/// The cgroup v1 mounts, from `/proc/self/mountinfo` (proc(5)).
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    mountinfo.lines().filter_map(hierarchy).collect()
}

fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mount = before.split(' ').nth(4)?;
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let name = mount.strip_prefix("/sys/fs/cgroup/")?;
    if kind != "cgroup" || name.contains('/') {
        return None;
    }
    let controllers = options
        .split(',')
        .filter(|option| !matches!(*option, "rw" | "ro" | "xattr"));
    Some(Hierarchy {
        name: name.to_owned(),
        mount: mount.into(),
        controllers: controllers.map(str::to_owned).collect(),
    })
}

/// Skep's tree for one namespace.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    namespace: Namespace,
}

impl Cgroups {
    pub(super) fn prepare(hierarchies: &[Hierarchy], namespace: &Namespace) -> io::Result<Self> {
        let own = Self {
            hierarchies: hierarchies.to_vec(),
            namespace: namespace.clone(),
        };
        own.lay_out()?;
        own.clear();
        Ok(own)
    }

    /// Makes what is missing of the tree; whether anything was.
    pub(super) fn lay_out(&self) -> io::Result<bool> {
        let mut missed = false;
        for hierarchy in &self.hierarchies {
            let folder = self.folder(hierarchy);
            missed |= !folder.is_dir();
            fs::create_dir_all(&folder)?;
            if !writable(&folder) {
                let message = format!("{} is read-only", folder.display());
                return Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, message));
            }
            if hierarchy.has("cpuset") {
                for level in [hierarchy.mount.join(ROOT), folder.clone()] {
                    missed |= inherit_cpuset(&level)?;
                }
            }
        }
        Ok(missed)
    }

    /// Ends every instance, and removes what it had.
    pub(super) fn clear(&self) {
        // Let go first: a frozen process does not even take a signal that kills it.
        for hierarchy in self.hierarchies.iter().filter(|one| one.has("freezer")) {
            for instance in folders(&self.folder(hierarchy)) {
                let _thawed = fs::write(instance.join("freezer.state"), "THAWED");
            }
        }
        for hierarchy in &self.hierarchies {
            for instance in folders(&self.folder(hierarchy)) {
                end(&instance, kill_each);
            }
        }
    }

    /// Below another cgroup than Skep's own, which is made where it isn't there.
    pub(super) fn tree_below(&self, limits: &Limits, parent: &str) -> io::Result<Tree> {
        let settings = limits.with_device_lines();
        let mut directories = Vec::new();
        for hierarchy in &self.hierarchies {
            let mut folder = hierarchy.mount.clone();
            for part in parent.split('/').filter(|part| !part.is_empty()) {
                folder.push(part);
                match fs::create_dir(&folder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
                if hierarchy.has("cpuset") {
                    let _was_empty = inherit_cpuset(&folder)?;
                }
            }
            directories.push(CgroupDirectory {
                name: hierarchy.name.clone(),
                parent: folder.display().to_string(),
                settings: of(hierarchy, &settings),
            });
        }
        Ok(Tree {
            directories,
            unified: false,
        })
    }

    pub(super) fn clear_below(&self, parent: &str, names: &[String]) {
        for hierarchy in &self.hierarchies {
            for name in names {
                let folder = hierarchy.mount.join(parent.trim_start_matches('/')).join(name);
                if folder.is_dir() {
                    let _thawed = fs::write(folder.join("freezer.state"), "THAWED");
                    end(&folder, kill_each);
                }
            }
        }
    }

    fn folder(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount.join(ROOT).join(self.namespace.as_str())
    }

    pub(super) fn tree(&self, limits: &Limits) -> Tree {
        let settings = limits.with_device_lines();
        let directory = |hierarchy: &Hierarchy| CgroupDirectory {
            name: hierarchy.name.clone(),
            parent: self.folder(hierarchy).display().to_string(),
            settings: of(hierarchy, &settings),
        };
        Tree {
            directories: self.hierarchies.iter().map(directory).collect(),
            unified: false,
        }
    }

    pub(super) fn freezer(&self, instance: &str) -> Freezer {
        let freezer = self.hierarchies.iter().find(|one| one.has("freezer"));
        let folder = freezer.map(|hierarchy| self.folder(hierarchy).join(instance));
        Freezer {
            file: folder.unwrap_or_default().join("freezer.state"),
            frozen: "FROZEN",
            thawed: "THAWED",
        }
    }

    pub(super) fn remove(&self) {
        self.clear();
        for hierarchy in &self.hierarchies {
            let own = self.folder(hierarchy);
            // The spawner may still be taking away what just ended there.
            end(&own, |own| {
                folders(own).iter().for_each(|left| end(left, kill_each))
            });
            // Another namespace may still be beside it; then the shared folder stays.
            let _emptied = fs::remove_dir(hierarchy.mount.join(ROOT));
        }
    }
}

/// A cpuset begins empty, and nothing can run in an empty one (cpuset(7)). Gives whether this one was.
fn inherit_cpuset(folder: &Path) -> io::Result<bool> {
    let Some(parent) = folder.parent() else {
        return Ok(false);
    };
    let mut was_empty = false;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(folder.join(file))?.trim().is_empty() {
            fs::write(folder.join(file), fs::read_to_string(parent.join(file))?.trim())?;
            was_empty = true;
        }
    }
    // From here on every new cgroup begins with its parent's.
    fs::write(folder.join("cgroup.clone_children"), "1")?;
    Ok(was_empty)
}

/// The settings of one hierarchy.
fn of(hierarchy: &Hierarchy, settings: &[Setting]) -> Vec<(String, String)> {
    settings
        .iter()
        .filter(|setting| hierarchy.has(setting.controller))
        .map(|setting| (setting.file.to_owned(), setting.text.clone()))
        .collect()
}
