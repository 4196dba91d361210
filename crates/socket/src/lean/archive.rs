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
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::json;
use skep_grant::Refusal;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::child::LeanChild;
use super::room::{self, Room};
use super::run::broke_off;
use crate::answer::{Answer, Body, BodyError, nothing};

const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
/// How many pieces of an archive wait.
const WAITING: usize = 8;

/// What `inode` and name take of the kernel's memory for each file of a file system in memory.
const FILE: u64 = 1 << 10;

/// Does something among a child's files, without holding up anybody.
pub(super) async fn inside<T: Send + 'static>(
    mounts: &Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = apart(mounts, work).map_err(unlooked)?;
    done.await.map_err(|_| broke_off())?.map_err(unlooked)
}

fn unlooked(error: io::Error) -> Refusal {
    super::create::failed(&format!("its files can't be looked at: {error}"))
}

/// The same in a thread of its own, which may wait for a client: the runtime's are everybody's.
fn apart<T: Send + 'static>(
    mounts: &Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<io::Result<T>>> {
    let (mounts, (sender, receiver)) = (mounts.clone(), oneshot::channel());
    let named = std::thread::Builder::new().name("skep-files".to_owned());
    named.spawn(move || drop(sender.send(skep_sys::in_files(mounts.as_fd(), work))))?;
    Ok(receiver)
}

/// The bytes that a child's files take.
pub(super) async fn used(mounts: &Arc<OwnedFd>) -> u64 {
    let mounts = mounts.clone();
    let measured = tokio::task::spawn_blocking(move || skep_sys::in_mounts(mounts.as_fd(), taken));
    measured.await.ok().and_then(Result::ok).unwrap_or(0)
}

/// The memory that the root's files take.
fn taken() -> u64 {
    rustix::fs::statvfs("/").map_or(0, |found| {
        let bytes = found.f_blocks.saturating_sub(found.f_bfree);
        let files = found.f_files.saturating_sub(found.f_ffree);
        bytes
            .saturating_mul(found.f_frsize)
            .saturating_add(files.saturating_mul(FILE))
    })
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
    if metadata.is_file() {
        return add_file(builder, place, name);
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

/// Adds a file as large as it was when it was opened, whatever is written to it meanwhile.
fn add_file<W: Write>(builder: &mut tar::Builder<W>, place: &Path, name: &Path) -> io::Result<()> {
    // What it is may have changed since it was looked at: a link would be followed, a pipe waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(place, flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    let zeros = io::repeat(0);
    builder.append_data(&mut header, name, file.chain(zeros).take(metadata.len()))
}

/// `GET /containers/ID/archive`, and with the root of all `export`.
pub(super) async fn get(
    child: &LeanChild,
    mounts: &Arc<OwnedFd>,
    path: &str,
    whole: bool,
    working: OwnedSemaphorePermit,
) -> Result<Answer, Refusal> {
    let asked = path.to_owned();
    let found = inside(mounts, move || stat(&asked)).await?;
    let found = found.ok_or_else(|| missing(path, child))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let place = absolute(path);
    let packing = apart(mounts, move || {
        if let Err(error) = pack(&place, Pieces(sender)) {
            tracing::debug!(%error, "an archive of a child's files broke off");
        }
        drop(working);
    });
    // Its end is the end of the pieces.
    drop(packing.map_err(unlooked)?);
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

/// Reads what a request's body brings, for as long as there is room.
struct Arriving {
    body: mpsc::Receiver<Bytes>,
    piece: Bytes,
    room: Arc<Room>,
    /// What came since it was last looked how much room there is.
    unlooked: u64,
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.body.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.piece.len());
        self.unlooked += length as u64;
        if self.unlooked >= room::STEP {
            self.unlooked = 0;
            self.room.holds(taken())?;
        }
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// `PUT /containers/ID/archive`.
pub(super) async fn put(
    child: &LeanChild,
    mounts: &Arc<OwnedFd>,
    path: &str,
    mut body: Body,
    (room, working): (Room, OwnedSemaphorePermit),
) -> Result<Answer, Refusal> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (place, room) = (absolute(path), Arc::new(room));
    let arriving = Arriving {
        body: receiver,
        piece: Bytes::new(),
        room: room.clone(),
        unlooked: 0,
    };
    let unpacking = apart(mounts, move || {
        if !fs::metadata(&place)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let place = fs::canonicalize(&place)?;
        let looked = arriving.room.clone();
        looked.holds(taken())?;
        let mut archive = tar::Archive::new(arriving);
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(true);
        let unpacked = archive.unpack(&place);
        let fits = looked.holds(taken());
        drop(working);
        unpacked.and(fits)
    });
    let unpacking = unpacking.map_err(unlooked)?;
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
        Err(_) if room.is_short() => Err(room.refusal()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_became_a_pipe_or_a_link_is_not_waited_for_and_not_followed() {
        let folder = std::env::temp_dir().join(format!("skep-archive-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let (pipe, link, file) = (folder.join("pipe"), folder.join("link"), folder.join("file"));
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        for place in [&pipe, &link, &file] {
            add_file(&mut builder, place, Path::new(place.file_name().unwrap())).unwrap();
        }
        let packed = builder.into_inner().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned());
        assert_eq!(names.collect::<Vec<_>>(), [PathBuf::from("file")]);
    }
}
