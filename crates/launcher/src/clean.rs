//! Leaving a node: what a launcher that was killed left behind, and the agent's data.

use std::path::Path;

use bollard::Docker;

use crate::error::LauncherError;
use crate::node;

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct Clean {
    /// The folder in which everything is, seen from here, and the name of the agent's data in it.
    pub data: Option<(std::path::PathBuf, String)>,
}

/// Removes agents that nobody keeps, and their data where that is asked for.
///
/// # Errors
/// What could not be removed.
pub async fn clean(docker: &Docker, clean: &Clean) -> Result<(), LauncherError> {
    for agent in node::agents(docker).await? {
        node::remove(docker, &agent.id).await?;
    }
    if let Some((parent, name)) = &clean.data {
        remove_tree(parent, name)
            .await
            .map_err(|source| LauncherError::Data {
                path: parent.join(name),
                source,
            })?;
    }
    Ok(())
}

/// What is gone already is as good as removed. Where the folder is a mount point, it stays, empty.
async fn remove_tree(parent: &Path, name: &str) -> std::io::Result<()> {
    let path = parent.join(name);
    let mut entries = match tokio::fs::read_dir(&path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_type().await?.is_dir() {
            tokio::fs::remove_dir_all(entry.path()).await?;
        } else {
            tokio::fs::remove_file(entry.path()).await?;
        }
    }
    match tokio::fs::remove_dir(&path).await {
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(()),
        removed => removed,
    }
}
