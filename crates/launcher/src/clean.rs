//! Leaving a node: what a launcher that was killed left behind, and the agent's data.

use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::RemoveVolumeOptions;

use crate::error::{LauncherError, is};
use crate::node;

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct Clean {
    /// The agent's data, as it is seen from here.
    pub data: Option<PathBuf>,
    /// Volumes of this node.
    pub volumes: Vec<String>,
}

/// Removes agents that nobody keeps, and their data where that is asked for.
///
/// # Errors
/// What could not be removed.
pub async fn clean(docker: &Docker, clean: &Clean) -> Result<(), LauncherError> {
    for agent in node::agents(docker).await? {
        node::remove(docker, &agent.id).await?;
    }
    for volume in &clean.volumes {
        match docker.remove_volume(volume, None::<RemoveVolumeOptions>).await {
            Err(error) if !is(&error, 404) => {
                return Err(LauncherError::engine("remove a gateway's data")(error));
            }
            _ => {}
        }
    }
    if let Some(path) = &clean.data {
        remove_tree(path).await.map_err(|source| LauncherError::Data {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// What is gone already is as good as removed. Where the folder is a mount point, it stays, empty.
async fn remove_tree(path: &Path) -> std::io::Result<()> {
    let mut entries = match tokio::fs::read_dir(path).await {
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
    match tokio::fs::remove_dir(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(()),
        removed => removed,
    }
}
