//! From a parked container into a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::Docker;
use bollard::models::{ChangeType, ContainerInspectResponse, FilesystemChange};
use bollard::query_parameters::DownloadFromContainerOptions;
use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use skep_model::{Copied, CopiedPart};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::paths::{self, Change, Expected, Kind, Root};
use crate::{links, untouched};

/// The most that is carried over into every instance; what is larger belongs into the image.
pub const LIMIT: u64 = 256 << 20;
/// The same, counted in paths.
const PATHS: usize = 1000;
/// Where in an archive's first header the kind of the entry is (POSIX ustar), and what says that it is a folder.
const KIND: usize = 156;
const FOLDER: u8 = b'5';

/// Why it could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is too much to be put into each instance.
    #[error(
        "more than {} MiB or {PATHS} paths were put into it with docker cp; \
         build an image that has them", LIMIT >> 20
    )]
    TooMuch,
    /// The engine did not hand it out.
    #[error("what was put into it with docker cp can't be read: {0}")]
    Engine(#[from] bollard::errors::Error),
    /// It could not be kept.
    #[error("what was put into it with docker cp can't be kept: {0}")]
    Keep(#[from] io::Error),
}

/// Reads what was put into a parked container; `None` where nothing was. It is kept in a file of `folder` that has no
/// name, and goes with its last user.
///
/// # Errors
/// It is too much, or the engine or the disk refused.
pub async fn read(
    docker: &Docker,
    inspect: &ContainerInspectResponse,
    folder: &Path,
) -> Result<Option<Arc<Copied>>, ReadError> {
    let expected = expected(inspect);
    let layer = inspect
        .graph_driver
        .as_ref()
        .and_then(|driver| driver.data.get("UpperDir"))
        .map(PathBuf::from);
    if let Some(layer) = layer {
        let expected = expected.clone();
        let looking = tokio::task::spawn_blocking(move || untouched::look(&layer, &expected));
        if looking.await.map_err(io::Error::other)? == Some(true) {
            return Ok(None);
        }
    }
    let id = inspect.id.as_deref().unwrap_or_default();
    let changes = docker.container_changes(id).await?.unwrap_or_default();
    let changes: Vec<Change> = changes.into_iter().filter_map(change).collect();
    let mut roots = paths::roots(changes.clone(), &expected);
    if !roots.is_empty() {
        // Few have any, and few of those paths a link of the image on the way: asking takes a call for each folder.
        let expected = links::follow(docker, id, &expected).await;
        roots = paths::roots(changes, &expected);
    }
    if roots.is_empty() {
        return Ok(None);
    }
    if roots.len() > PATHS {
        return Err(ReadError::TooMuch);
    }
    let mut keep = Keep {
        file: File::from_std(tempfile::tempfile_in(folder)?),
        length: 0,
        digest: Sha256::new(),
    };
    let mut parts = Vec::with_capacity(roots.len());
    for root in &roots {
        parts.extend(carry(docker, id, root, &mut keep).await?);
    }
    if parts.is_empty() {
        return Ok(None);
    }
    keep.file.flush().await?;
    let digest = keep
        .digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Some(Arc::new(Copied {
        digest,
        parts,
        file: Arc::new(keep.file.into_std().await),
    })))
}

fn expected(inspect: &ContainerInspectResponse) -> Expected {
    let config = inspect.config.as_ref();
    let host = inspect.host_config.as_ref();
    let mounts = inspect.mounts.iter().flatten();
    let mounts = mounts.filter_map(|mount| mount.destination.clone());
    let volumes = config
        .and_then(|config| config.volumes.clone())
        .unwrap_or_default();
    let tmpfs = host.and_then(|host| host.tmpfs.clone()).unwrap_or_default();
    Expected {
        directory: config
            .and_then(|config| config.working_dir.clone())
            .filter(|directory| !directory.is_empty())
            .unwrap_or_else(|| "/".to_owned()),
        mounts: mounts.chain(volumes).chain(tmpfs.into_keys()).collect(),
    }
}

fn change(change: FilesystemChange) -> Option<Change> {
    let kind = match change.kind {
        ChangeType::_0 => Kind::Modified,
        ChangeType::_1 => Kind::Added,
        // Nothing that can be done to a parked container removes anything from it.
        ChangeType::_2 => return None,
    };
    Some(Change {
        path: change.path,
        kind,
    })
}

/// Where the archives go, one behind the other.
struct Keep {
    file: File,
    length: u64,
    digest: Sha256,
}

impl Keep {
    async fn write(&mut self, piece: &Bytes) -> Result<(), ReadError> {
        self.length += piece.len() as u64;
        if self.length > LIMIT {
            return Err(ReadError::TooMuch);
        }
        self.digest.update(piece);
        self.file.write_all(piece).await?;
        Ok(())
    }
}

async fn carry(
    docker: &Docker,
    id: &str,
    root: &Root,
    keep: &mut Keep,
) -> Result<Option<CopiedPart>, ReadError> {
    let options = DownloadFromContainerOptions {
        path: root.path.clone(),
    };
    let mut archive = Box::pin(docker.download_from_container(id, Some(options)));
    let offset = keep.length;
    let mut first = Vec::new();
    let mut decided = !root.perhaps_folder;
    while let Some(piece) = archive.next().await {
        let piece = piece?;
        if !decided {
            first.extend_from_slice(&piece[..piece.len().min(KIND + 1)]);
            match first.get(KIND) {
                Some(&FOLDER) => return Ok(None),
                Some(_) => decided = true,
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        }
        keep.write(&piece).await?;
    }
    let (parent, _) = root.path.rsplit_once('/').unwrap_or_default();
    let folder = if parent.is_empty() { "/" } else { parent };
    keep.digest.update(folder.as_bytes());
    Ok(Some(CopiedPart {
        folder: folder.to_owned(),
        offset,
        length: keep.length - offset,
    }))
}
