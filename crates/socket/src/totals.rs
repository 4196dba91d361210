//! How many children were started for an invocation, for as long as a child of it may start more: what was removed is
//! in no list of Docker's, and a later Skep would not count it.

use std::path::PathBuf;

use crate::shared::Shared;

fn folder(shared: &Shared) -> PathBuf {
    shared.directory.with_file_name("totals")
}

/// Writes down what was counted for a root, where who may count on outlives this process.
pub(crate) async fn keep(shared: &Shared, root: &str) {
    let count = {
        let children = shared.children();
        if !children.outlives(root) {
            return;
        }
        children.total(root)
    };
    let (folder, root) = (folder(shared), root.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(root), count.to_string())
    });
    if let Ok(Err(error)) = written.await {
        tracing::warn!(%error, "how many children were started could not be written down");
    }
}

/// Removes what was written down for a root, where nobody counts on any more.
pub(crate) fn forget(shared: &Shared, root: &str) {
    if !shared.children().outlives(root) {
        // Most have none.
        drop(std::fs::remove_file(folder(shared).join(root)));
    }
}

/// Counts what an earlier Skep wrote down, and removes what nobody counts on any more; after all children are known.
pub(crate) fn recall(shared: &Shared) {
    let entries = std::fs::read_dir(folder(shared)).into_iter().flatten().flatten();
    for entry in entries {
        let root = entry.file_name().to_string_lossy().into_owned();
        let mut children = shared.children();
        if !children.outlives(&root) {
            drop(std::fs::remove_file(entry.path()));
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if let Ok(count) = text.parse() {
            children.made_before(&root, count);
        }
    }
}
