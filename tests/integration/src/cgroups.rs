//! Skep's cgroups, found from the outside: of version 1 in every hierarchy, of version 2 below its scope or folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";

/// The folders that Skep made for a namespace.
pub fn cgroup_homes(namespace: &str) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = folders(Path::new(MOUNT))
        .into_iter()
        .chain([PathBuf::from(MOUNT)])
        .map(|mount| mount.join("skep").join(namespace))
        .collect();
    let scope = format!("skep-{namespace}-");
    let scopes = folders(&Path::new(MOUNT).join("skep.slice")).into_iter();
    homes.extend(
        scopes
            .filter(|folder| name(folder).starts_with(&scope))
            .map(|folder| folder.join("instances")),
    );
    homes.retain(|home| home.is_dir());
    homes
}

/// The names of the namespace's instances that have a cgroup somewhere.
pub fn cgroups(namespace: &str) -> BTreeSet<String> {
    let below = |home: &PathBuf| {
        let (groups, instances): (Vec<_>, Vec<_>) = folders(home)
            .into_iter()
            .partition(|folder| name(folder).starts_with("devices-"));
        let below = groups.iter().flat_map(|group| folders(group));
        below.chain(instances).collect::<Vec<_>>()
    };
    cgroup_homes(namespace)
        .iter()
        .flat_map(below)
        .map(|folder| name(&folder))
        .collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The processes in the cgroup of this name, wherever it stands; none where there is no such cgroup.
pub fn processes_in(cgroup: &str) -> Vec<i32> {
    // Of version 1 one hierarchy tells.
    let pids = Path::new(MOUNT).join("pids");
    let mut waiting = vec![if pids.is_dir() { pids } else { MOUNT.into() }];
    while let Some(folder) = waiting.pop() {
        if folder.ends_with(cgroup) {
            let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            return text.lines().filter_map(|line| line.parse().ok()).collect();
        }
        waiting.extend(folders(&folder));
    }
    Vec::new()
}
