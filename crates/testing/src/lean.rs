//! What the kernel shows of a namespace's lean instances: their cgroups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";
/// How far below Skep's own folder an instance's may be, with either version of cgroups.
const DEPTH: u32 = 4;

/// The ids of a namespace's lean instances whose cgroups stand, in any hierarchy.
pub(crate) fn instances(namespace: &str) -> BTreeSet<String> {
    let hierarchies = folders(Path::new(CGROUPS)).into_iter();
    let separate = hierarchies.map(|hierarchy| hierarchy.join("skep"));
    let unified = ["skep", "skep.slice"].map(|name| Path::new(CGROUPS).join(name));
    let mut found = BTreeSet::new();
    for root in separate.chain(unified) {
        collect(&root, namespace, DEPTH, &mut found);
    }
    found
}

fn collect(folder: &Path, namespace: &str, depth: u32, found: &mut BTreeSet<String>) {
    for folder in folders(folder) {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if uuid::Uuid::try_parse(&name).is_ok() {
            if folder.to_string_lossy().contains(namespace) {
                found.insert(name);
            }
        } else if depth > 0 {
            collect(&folder, namespace, depth - 1, found);
        }
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}
