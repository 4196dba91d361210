//! Leaving a node: what a launcher that was killed left behind, and the agent's data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::RemoveVolumeOptions;
use tokio::time::{Instant, sleep};

use crate::error::{LauncherError, is};
use crate::node;

/// How long a volume may be in use by what has ended.
const IN_USE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(300);

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
        remove_volume(docker, volume).await?;
    }
    if let Some(path) = &clean.data {
        remove_tree(path).await.map_err(|source| LauncherError::Data {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Swarm removes the container of a task that has ended a moment later; until then its volume is in use.
async fn remove_volume(docker: &Docker, volume: &str) -> Result<(), LauncherError> {
    let began = Instant::now();
    loop {
        match docker.remove_volume(volume, None::<RemoveVolumeOptions>).await {
            Err(error) if is(&error, 409) && began.elapsed() < IN_USE => sleep(LOOK).await,
            Err(error) if !is(&error, 404) => {
                return Err(LauncherError::engine("remove a volume with data of Skep's")(
                    error,
                ));
            }
            _ => return Ok(()),
        }
    }
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
