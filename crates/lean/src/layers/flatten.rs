//! Making one image's folder: a container of it, its export, and the unpacking.

use std::io;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::models::{Mount, MountType};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use bytes::Bytes;
use futures::StreamExt;
use skep_docker::DockerEngine;
use skep_model::{InstanceId, Namespace};
use tokio::sync::{mpsc, watch};

use super::Image;
use super::pieces::Pieces;
use super::store::Progress;
use super::unpack::unpack;
use crate::sandbox::{self, Maker, SandboxError, within};

/// How many pieces may wait for the thread that unpacks them.
const PIECES: usize = 16;

/// What it takes to export an image.
#[derive(Clone)]
pub(crate) struct Exporter {
    pub(crate) docker: Docker,
    pub(crate) engine: DockerEngine,
    pub(crate) owner: String,
    pub(crate) namespace: Namespace,
}

/// Why an image can't be flattened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlattenError {
    #[error(transparent)]
    Container(#[from] SandboxError),
    #[error("Docker's export broke off: {0}")]
    Export(#[source] bollard::errors::Error),
    #[error("what Docker exports can't be unpacked: {0}")]
    Unpack(#[source] io::Error),
    #[error("it can't be kept: {0}")]
    Keep(#[source] io::Error),
    #[error("Skep is ending")]
    Ending,
}

/// Exports an image into a folder that this makes.
pub(super) async fn flatten(
    exporter: &Exporter,
    image: &Image,
    folder: &Path,
    progress: &watch::Sender<Progress>,
) -> Result<(), FlattenError> {
    let look = exporter.docker.inspect_image(&image.id);
    let found = within("looking at the image", look).await?;
    let total = found
        .size
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default();
    progress.send_modify(|progress| progress.total = total);
    let volumes = found.config.and_then(|config| config.volumes).unwrap_or_default();
    let kept = Kept::new(&exporter.engine);
    let container = create(exporter, image, &volumes, kept.id).await?;
    let exported = export(exporter, &container, folder.to_owned(), progress).await;
    sandbox::remove(&exporter.docker, &container).await;
    exported
}

/// Keeps the engine's sweep from the container that is exported; where its maker goes away, the sweep removes it.
struct Kept {
    engine: DockerEngine,
    id: InstanceId,
}

impl Kept {
    fn new(engine: &DockerEngine) -> Self {
        let id = InstanceId::generate();
        engine.keep(id);
        Self {
            engine: engine.clone(),
            id,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.engine.release(self.id);
    }
}

async fn create(
    exporter: &Exporter,
    image: &Image,
    volumes: &[String],
    id: InstanceId,
) -> Result<String, SandboxError> {
    let maker = Maker {
        docker: &exporter.docker,
        owner: &exporter.owner,
        pause: Path::new(""),
    };
    let mut body = sandbox::sleeping(&maker, &image.id, &exporter.namespace, &id);
    let host = body.host_config.get_or_insert_default();
    host.binds = None;
    // So that Docker makes and fills no volume that nobody uses.
    let covered = volumes.iter().map(|target| Mount {
        typ: Some(MountType::TMPFS),
        target: Some(target.clone()),
        ..Mount::default()
    });
    host.mounts = Some(covered.collect());
    let text = id.to_string();
    let name = format!("skep-{}-layers-{}", exporter.namespace, &text[text.len() - 12..]);
    let mut options = CreateContainerOptionsBuilder::default().name(&name);
    if let Some(platform) = &image.platform {
        options = options.platform(platform);
    }
    sandbox::create_patiently(&exporter.docker, options.build(), body).await
}

async fn export(
    exporter: &Exporter,
    container: &str,
    folder: PathBuf,
    progress: &watch::Sender<Progress>,
) -> Result<(), FlattenError> {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let unpacking = tokio::task::spawn_blocking(move || {
        std::fs::create_dir(&folder)?;
        let mut pieces = Pieces::new(receiver);
        unpack(&mut pieces, &folder)?;
        pieces.finish()
    });
    let mut stream = Box::pin(exporter.docker.export_container(container));
    let mut broken = None;
    while let Some(piece) = stream.next().await {
        let (piece, failed) = match piece {
            Ok(piece) => (Ok(piece), None),
            Err(error) => (Err(io::Error::other(error.to_string())), Some(error)),
        };
        let length = piece.as_ref().map_or(0, Bytes::len) as u64;
        progress.send_modify(|progress| progress.bytes += length);
        // Where nobody takes it any more, the unpacking says why.
        let taken = sender.send(piece).await;
        broken = failed;
        if broken.is_some() || taken.is_err() {
            break;
        }
    }
    drop(sender);
    let unpacked = unpacking
        .await
        .map_err(|error| FlattenError::Unpack(io::Error::other(error)))?;
    match broken {
        Some(error) => Err(FlattenError::Export(error)),
        None => unpacked.map_err(FlattenError::Unpack),
    }
}
