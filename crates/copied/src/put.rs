//! From the file into a container that was created and not started.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::UploadToContainerOptions;
use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;
use skep_model::Copied;

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// Puts it all into a container, as it was in the one that it was read from: owners, modes and dates included.
///
/// # Errors
/// What the engine said.
pub async fn put(docker: &Docker, container: &str, copied: &Copied) -> Result<(), Error> {
    for part in &copied.parts {
        let options = UploadToContainerOptions {
            path: part.folder.clone(),
            ..Default::default()
        };
        let archive = pieces(Arc::clone(&copied.file), part.offset, part.offset + part.length);
        docker
            .upload_to_container(container, Some(options), bollard::body_try_stream(archive))
            .await?;
    }
    Ok(())
}

fn pieces(file: Arc<File>, begin: u64, end: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    try_unfold(begin, move |at| {
        let file = Arc::clone(&file);
        async move {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            if wanted == 0 {
                return Ok(None);
            }
            let reading = move || {
                let mut piece = vec![0; wanted];
                file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
            };
            let piece = tokio::task::spawn_blocking(reading)
                .await
                .map_err(io::Error::other)??;
            let next = at + piece.len() as u64;
            Ok(Some((piece, next)))
        }
    })
}
