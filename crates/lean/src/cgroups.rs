//! Skep's own cgroup tree: made once, cleared of what a crash left, and laid out for each template.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};
use skep_model::Namespace;
use skep_spawner::{CgroupDirectory, Tree};

use crate::host::{Hierarchy, Host};
use crate::limits::{self, Setting};

/// The name of Skep's folder at the root of each hierarchy.
const ROOT: &str = "skep";

fn folder(hierarchy: &Hierarchy, namespace: &Namespace) -> PathBuf {
    hierarchy.mount.join(ROOT).join(namespace.as_str())
}

/// Makes the namespace's folder in each hierarchy, and removes the cgroups of instances that are no more. A process
/// that is still in one was left behind by a Skep that was killed, and is killed.
///
/// # Errors
/// What the kernel answers, with the folder.
pub(crate) fn prepare(host: &Host, namespace: &Namespace) -> io::Result<()> {
    for hierarchy in &host.hierarchies {
        let own = folder(hierarchy, namespace);
        fs::create_dir_all(&own)?;
        if hierarchy
            .controllers
            .iter()
            .any(|controller| controller == "cpuset")
        {
            for level in [hierarchy.mount.join(ROOT), own.clone()] {
                inherit_cpuset(&level)?;
            }
        }
        clear(&own);
    }
    Ok(())
}

/// A cpuset begins empty, and nothing can run in an empty one (cpuset(7)).
fn inherit_cpuset(folder: &Path) -> io::Result<()> {
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(folder.join(file))?.trim().is_empty() {
            fs::write(folder.join(file), fs::read_to_string(parent.join(file))?.trim())?;
        }
    }
    // From here on every new cgroup begins with its parent's.
    fs::write(folder.join("cgroup.clone_children"), "1")
}

/// Ends what runs below and removes what is empty; what the kernel still holds goes with a later sweep.
fn clear(folder: &Path) {
    for instance in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
    {
        if !instance.is_dir() {
            continue;
        }
        let _thawed = fs::write(instance.join("freezer.state"), "THAWED");
        for _ in 0..200 {
            let processes = fs::read_to_string(instance.join("cgroup.procs")).unwrap_or_default();
            for process in processes
                .lines()
                .filter_map(|line| line.parse().ok())
                .filter_map(Pid::from_raw)
            {
                // Ended in the meantime is as good.
                let _killed = rustix::process::kill_process(process, Signal::KILL);
            }
            if fs::remove_dir(&instance).is_ok() || !instance.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Removes the namespace's folders, at the end of the process.
pub(crate) fn remove(host: &Host, namespace: &Namespace) {
    for hierarchy in &host.hierarchies {
        let own = folder(hierarchy, namespace);
        clear(&own);
        // Another namespace may still be beside it; then the shared folder stays.
        let _emptied = fs::remove_dir(&own).and_then(|()| fs::remove_dir(hierarchy.mount.join(ROOT)));
    }
}

/// Where the instances of one template get their cgroups, and what is written there.
pub(crate) fn tree(host: &Host, namespace: &Namespace, settings: &[Setting]) -> Tree {
    let directory = |hierarchy: &Hierarchy| CgroupDirectory {
        name: hierarchy.name.clone(),
        parent: folder(hierarchy, namespace).display().to_string(),
        settings: limits::of(hierarchy, settings),
    };
    Tree {
        directories: host.hierarchies.iter().map(directory).collect(),
        unified: false,
    }
}

/// The freezer's folder of one instance.
pub(crate) fn freezer(host: &Host, namespace: &Namespace, instance: &str) -> PathBuf {
    let freezer = host
        .hierarchies
        .iter()
        .find(|one| one.controllers.iter().any(|name| name == "freezer"));
    freezer
        .map(|hierarchy| folder(hierarchy, namespace).join(instance))
        .unwrap_or_default()
}
