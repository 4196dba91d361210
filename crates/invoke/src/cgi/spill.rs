//! A body without a length, written to a file first: CGI's `CONTENT_LENGTH` must be exact.

use std::io::{self, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::Request;
use http::header::{CONTENT_LENGTH, TRAILER};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use crate::body::{Body, BodyError};

/// Up to this much is kept in memory.
const IN_MEMORY: usize = 64 * 1024;

/// Makes sure that the request says how long its body is. The file has no name and goes with the body.
pub(crate) async fn measure(request: Request<Body>, directory: &Path) -> Result<Request<Body>, BodyError> {
    if request.headers().contains_key(CONTENT_LENGTH) || request.body().is_end_stream() {
        return Ok(request);
    }
    let (mut parts, mut body) = request.into_parts();
    let mut chunks: Vec<Bytes> = Vec::new();
    let mut length: u64 = 0;
    let mut file: Option<File> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len() as u64;
        chunks.push(data);
        if file.is_some() || length > IN_MEMORY as u64 {
            let target = match &mut file {
                Some(open) => open,
                None => file.insert(nameless(directory).await.map_err(storage)?),
            };
            for chunk in chunks.drain(..) {
                target.write_all(&chunk).await.map_err(storage)?;
            }
        }
    }
    parts.headers.remove(TRAILER);
    parts.headers.insert(CONTENT_LENGTH, length.into());
    let body = match file {
        None => crate::body::full(chunks.concat()),
        Some(file) => reread(file).await.map_err(storage)?,
    };
    Ok(Request::from_parts(parts, body))
}

async fn nameless(directory: &Path) -> io::Result<File> {
    let directory = directory.to_owned();
    let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory)).await;
    Ok(File::from_std(made.map_err(io::Error::other)??))
}

async fn reread(mut file: File) -> io::Result<Body> {
    file.flush().await?;
    file.seek(SeekFrom::Start(0)).await?;
    let frames = ReaderStream::with_capacity(file, 64 * 1024)
        .map_ok(Frame::data)
        .map_err(storage);
    Ok(StreamBody::new(frames).boxed_unsync())
}

fn storage(error: io::Error) -> BodyError {
    BodyError::Storage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(chunks: Vec<Bytes>) -> Request<Body> {
        let frames = futures::stream::iter(chunks.into_iter().map(|chunk| Ok(Frame::data(chunk))));
        Request::new(StreamBody::new(frames).boxed_unsync())
    }

    async fn check(chunks: Vec<Bytes>) {
        let expected = chunks.concat();
        let directory = tempfile::tempdir().unwrap();
        let request = measure(chunked(chunks), directory.path()).await.unwrap();
        assert_eq!(
            request.headers()[CONTENT_LENGTH],
            expected.len().to_string().as_str()
        );
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_short_body_is_measured_in_memory() {
        check(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]).await;
    }

    #[tokio::test]
    async fn a_long_body_is_measured_in_a_file_without_a_name() {
        check((0..40).map(|i| Bytes::from(vec![i; 10_000])).collect()).await;
    }
}
