//! Skep's cgroups of a test's namespace, once nothing of the test runs any more.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use crate::{PAUSE, within};

/// Skep's folders in each hierarchy: of instances, and of children.
const OWN: [&str; 2] = ["skep", "skep-children"];
/// How long processes that were killed a moment ago have to be gone.
const LAST: Duration = Duration::from_secs(2);

/// Removes what a Skep that was killed at a test's end, and children that outlived it, left of their namespace.
pub(crate) fn clear(namespace: &str) {
    let mount = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(mount).into_iter().flatten().flatten();
    let roots = hierarchies.map(|entry| entry.path()).chain([mount.to_owned()]);
    let mut left: Vec<_> = roots
        .flat_map(|root| OWN.map(|own| root.join(own).join(namespace)))
        .collect();
    // What does not empty is somebody's who still runs.
    within(LAST, PAUSE, || {
        left.retain(|cgroup| !removed(cgroup));
        left.is_empty().then_some(())
    });
}

/// Whether nothing is left of a tree of empty cgroups: its files are the kernel's, and go with their folder.
fn removed(cgroup: &Path) -> bool {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            removed(&entry.path());
        }
    }
    let gone = |error: std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    std::fs::remove_dir(cgroup).map_or_else(gone, |()| true)
}
