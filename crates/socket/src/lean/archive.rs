//! Files of a child, in and out as archives: looked at in its own mounts, by a thread that enters them.

use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use skep_grant::Refusal;
use tokio::sync::mpsc;

use super::child::LeanChild;
use super::run::broke_off;
use crate::answer::{Answer, Body, BodyError, nothing};

const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
/// How many pieces of an archive wait.
const WAITING: usize = 8;

/// Does something among a child's files, without holding up anybody.
pub(super) async fn inside<T: Send + 'static>(
    mounts: &Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let mounts = mounts.clone();
    let done = tokio::task::spawn_blocking(move || skep_sys::in_mounts(mounts.as_fd(), work)).await;
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(super::create::failed(&format!(
            "its files can't be looked at: {error}"
        ))),
        Err(_) => Err(broke_off()),
    }
}

/// The bytes that a child has written.
pub(super) async fn used(mounts: &Arc<OwnedFd>) -> u64 {
    let measured = inside(mounts, || {
        let found = rustix::fs::statvfs("/").ok()?;
        Some((found.f_blocks.saturating_sub(found.f_bfree)).saturating_mul(found.f_frsize))
    });
    measured.await.ok().flatten().unwrap_or(0)
}

fn missing(path: &str, child: &LeanChild) -> Refusal {
    Refusal::not_found(format!(
        "Could not find the file {path} in container {}",
        child.id
    ))
}

/// Go's bits for the kind of a file (io/fs.FileMode).
fn mode(metadata: &Metadata) -> u32 {
    let kind = metadata.file_type();
    let bit = |is: bool, bit: u32| if is { 1 << bit } else { 0 };
    let device = kind.is_block_device() || kind.is_char_device();
    metadata.mode() & 0o777
        | bit(kind.is_dir(), 31)
        | bit(kind.is_symlink(), 27)
        | bit(device, 26)
        | bit(kind.is_fifo(), 25)
        | bit(kind.is_socket(), 24)
        | bit(metadata.mode() & 0o4000 != 0, 23)
        | bit(metadata.mode() & 0o2000 != 0, 22)
        | bit(kind.is_char_device(), 21)
        | bit(metadata.mode() & 0o1000 != 0, 20)
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path.trim_start_matches('/'))
}

/// What is at a path, in the words of the API's header.
fn stat(path: &str) -> Option<String> {
    let place = absolute(path);
    let follow = path.ends_with('/') || path.ends_with("/.");
    let metadata = if follow {
        fs::metadata(&place)
    } else {
        fs::symlink_metadata(&place)
    }
    .ok()?;
    let target = if metadata.is_symlink() {
        fs::canonicalize(&place).ok()
    } else {
        None
    };
    let seconds = jiff::Timestamp::new(
        metadata.mtime(),
        i32::try_from(metadata.mtime_nsec()).unwrap_or(0),
    )
    .ok()?;
    let name = place
        .file_name()
        .map_or("/".to_owned(), |name| name.to_string_lossy().into_owned());
    let said = json!({
        "name": name, "size": metadata.size(), "mode": mode(&metadata), "mtime": seconds.to_string(),
        "linkTarget": target.map(|target| target.display().to_string()).unwrap_or_default(),
    });
    Some(base64::engine::general_purpose::STANDARD.encode(said.to_string()))
}

/// `HEAD /containers/ID/archive`.
pub(super) async fn head(child: &LeanChild, mounts: &Arc<OwnedFd>, path: &str) -> Result<Answer, Refusal> {
    let asked = path.to_owned();
    let found = inside(mounts, move || stat(&asked)).await?;
    let found = found.ok_or_else(|| missing(path, child))?;
    let mut answer = nothing(StatusCode::OK);
    answer
        .headers_mut()
        .insert(STAT, HeaderValue::from_str(&found).map_err(|_| broke_off())?);
    Ok(answer)
}

/// Writes into an answer's body.
struct Pieces(mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map(|()| bytes.len())
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An archive of what is at a path, under its last name; of the root under none.
fn pack(place: &Path, to: Pieces) -> io::Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(64 << 10, to));
    builder.follow_symlinks(false);
    let device = fs::symlink_metadata(place)?.dev();
    let name = place.file_name().map_or(PathBuf::new(), PathBuf::from);
    add(&mut builder, place, &name, device)?;
    builder.into_inner()?.flush()
}

fn add<W: Write>(builder: &mut tar::Builder<W>, place: &Path, name: &Path, device: u64) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(place) {
        // Gone since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if metadata.file_type().is_socket() {
        return Ok(());
    }
    if !name.as_os_str().is_empty() {
        builder.append_path_with_name(place, name)?;
    }
    // What is mounted below is another's, but for its mount point.
    if metadata.is_dir() && metadata.dev() == device {
        let mut entries: Vec<_> = fs::read_dir(place)?
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        entries.sort();
        for entry in entries {
            add(builder, &place.join(&entry), &name.join(&entry), device)?;
        }
    }
    Ok(())
}

/// `GET /containers/ID/archive`, and with the root of all `export`.
pub(super) async fn get(
    child: &LeanChild,
    mounts: &Arc<OwnedFd>,
    path: &str,
    whole: bool,
) -> Result<Answer, Refusal> {
    let asked = path.to_owned();
    let found = inside(mounts, move || stat(&asked)).await?;
    let found = found.ok_or_else(|| missing(path, child))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let (mounts, place) = (mounts.clone(), absolute(path));
    tokio::task::spawn_blocking(move || {
        let packed = skep_sys::in_mounts(mounts.as_fd(), || pack(&place, Pieces(sender)));
        if let Ok(Err(error)) | Err(error) = packed {
            tracing::debug!(%error, "an archive of a child's files broke off");
        }
    });
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let frames = pieces.map(|piece| Ok::<_, BodyError>(Frame::data(piece)));
    let mut answer = Answer::new(StreamBody::new(frames).boxed_unsync());
    let headers = answer.headers_mut();
    let kind = if whole {
        "application/octet-stream"
    } else {
        "application/x-tar"
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if !whole {
        headers.insert(STAT, HeaderValue::from_str(&found).map_err(|_| broke_off())?);
    }
    Ok(answer)
}

/// Reads what a request's body brings.
struct Arriving(mpsc::Receiver<Bytes>, Bytes);

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.1.is_empty() {
            match self.0.blocking_recv() {
                Some(piece) => self.1 = piece,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.1.len());
        self.1.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// `PUT /containers/ID/archive`.
pub(super) async fn put(
    child: &LeanChild,
    mounts: &Arc<OwnedFd>,
    path: &str,
    mut body: Body,
) -> Result<Answer, Refusal> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (mounts, place) = (mounts.clone(), absolute(path));
    let unpacking = tokio::task::spawn_blocking(move || {
        skep_sys::in_mounts(mounts.as_fd(), || {
            if !fs::metadata(&place)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let place = fs::canonicalize(&place)?;
            let mut archive = tar::Archive::new(Arriving(receiver, Bytes::new()));
            archive.set_preserve_permissions(true);
            archive.set_preserve_ownerships(true);
            archive.unpack(&place)
        })
    });
    let mut whole = Ok(());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let Ok(data) = frame.into_data() else { continue };
                // What stands behind the archive's end is read as well: its sender would take the connection for broken.
                drop(sender.send(data).await);
            }
            Err(error) => {
                whole = Err(Refusal::malformed(format!("the archive can't be read: {error}")));
                break;
            }
        }
    }
    drop(sender);
    let unpacked = unpacking.await.map_err(|_| broke_off())?;
    whole?;
    match unpacked.and_then(|unpacked| unpacked) {
        Ok(()) => Ok(nothing(StatusCode::OK)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(path, child)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(Refusal::malformed("extraction point is not a directory"))
        }
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Err(Refusal::forbidden("container rootfs is marked read-only"))
        }
        Err(error) => Err(super::create::failed(&format!(
            "the archive could not be unpacked: {error}"
        ))),
    }
}
