//! What is at a path of a child's, out as an archive.

use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use skep_grant::Refusal;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{STAT, WAITING, absolute, apart, broke_off, inside, missing, stat, unlooked};
use crate::answer::{Answer, BodyError};
use crate::lean::child::LeanChild;

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
fn pack(processes: BorrowedFd<'_>, place: &Path, to: Pieces) -> io::Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(64 << 10, to));
    builder.follow_symlinks(false);
    let device = fs::symlink_metadata(place)?.dev();
    let name = place.file_name().map_or(PathBuf::new(), PathBuf::from);
    add(&mut builder, (processes, device), place, &name)?;
    builder.into_inner()?.flush()
}

fn add<W: Write>(
    builder: &mut tar::Builder<W>,
    (processes, device): (BorrowedFd<'_>, u64),
    place: &Path,
    name: &Path,
) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(place) {
        // Gone since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let kind = metadata.file_type();
    if kind.is_file() {
        return add_file(builder, processes, place, name);
    }
    if kind.is_symlink() {
        return match fs::read_link(place) {
            Ok(target) => builder.append_link(&mut header(&metadata), name, target),
            // It has gone, or is another thing now.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        };
    }
    if !kind.is_dir() {
        return add_special(builder, &metadata, name);
    }
    if !name.as_os_str().is_empty() {
        builder.append_data(&mut header(&metadata), name.join(""), io::empty())?;
    }
    // What is mounted below is another's, but for its mount point.
    if metadata.dev() != device {
        return Ok(());
    }
    let listed = match fs::read_dir(place) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        other => other?,
    };
    let names = listed.map(|entry| entry.map(|entry| entry.file_name()));
    let mut entries = names.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        let (place, name) = (place.join(&entry), name.join(&entry));
        add(builder, (processes, device), &place, &name)?;
    }
    Ok(())
}

fn header(metadata: &Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    header
}

/// Adds a pipe or a device's node; a socket is nothing without who listens.
fn add_special<W: Write>(builder: &mut tar::Builder<W>, metadata: &Metadata, name: &Path) -> io::Result<()> {
    let kind = metadata.file_type();
    let entry = if kind.is_fifo() {
        tar::EntryType::Fifo
    } else if kind.is_char_device() {
        tar::EntryType::Char
    } else if kind.is_block_device() {
        tar::EntryType::Block
    } else {
        return Ok(());
    };
    let mut header = header(metadata);
    header.set_entry_type(entry);
    header.set_size(0);
    header.set_device_major(rustix::fs::major(metadata.rdev()))?;
    header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
    builder.append_data(&mut header, name, io::empty())
}

/// Adds a file as large as it was when it was opened, whatever is written to it meanwhile.
fn add_file<W: Write>(
    builder: &mut tar::Builder<W>,
    processes: BorrowedFd<'_>,
    place: &Path,
    name: &Path,
) -> io::Result<()> {
    // What it is may have changed since it was looked at. No cgroup keeps this thread from any device.
    let file = match skep_sys::open_file(processes, place) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let zeros = io::repeat(0);
    builder.append_data(
        &mut header(&metadata),
        name,
        file.chain(zeros).take(metadata.len()),
    )
}

/// The pieces of an archive. Their end is the archive's only where it was packed whole: who reads it must not take it
/// for that otherwise.
fn frames(
    receiver: mpsc::Receiver<Bytes>,
    packing: oneshot::Receiver<io::Result<io::Result<()>>>,
) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> {
    futures::stream::unfold((receiver, Some(packing)), |(mut receiver, packing)| async move {
        if let Some(piece) = receiver.recv().await {
            return Some((Ok(Frame::data(piece)), (receiver, packing)));
        }
        let packed = packing?.await.map_err(io::Error::other).flatten().flatten();
        let error = packed.err()?;
        tracing::debug!(%error, "an archive of a child's files broke off");
        Some((Err(BodyError::from(error)), (receiver, None)))
    })
}

/// `GET /containers/ID/archive`, and with the root of all `export`.
pub(in crate::lean) async fn get(
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
    let processes = skep_sys::processes().map_err(unlooked)?;
    let packing = apart(mounts, move || {
        let packed = pack(processes.as_fd(), &place, Pieces(sender));
        drop(working);
        packed
    });
    let frames = frames(receiver, packing.map_err(unlooked)?);
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

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn an_archive_that_broke_off_does_not_end_as_one_that_is_whole() {
        for (packed, whole) in [(Ok(()), true), (Err(io::ErrorKind::Other.into()), false)] {
            let ((sender, receiver), (over, packing)) = (mpsc::channel(WAITING), oneshot::channel());
            sender.send(Bytes::from_static(b"piece")).await.unwrap();
            drop(sender);
            over.send(Ok(packed)).unwrap();
            let frames: Vec<_> = frames(receiver, packing).collect().await;
            assert_eq!(frames.iter().all(Result::is_ok), whole);
        }
    }

    #[test]
    fn a_file_that_became_a_pipe_or_a_link_is_not_opened_and_not_followed() {
        let folder = std::env::temp_dir().join(format!("skep-archive-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let (pipe, link, file) = (folder.join("pipe"), folder.join("link"), folder.join("file"));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        // It gets through as soon as anybody opens the other end, for however short.
        let (opens, opened) = std::sync::mpsc::channel();
        let other_end = pipe.clone();
        let writer = std::thread::spawn(move || {
            let end = fs::OpenOptions::new().write(true).open(other_end);
            opens.send(end.is_ok()).unwrap();
        });
        fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let processes = skep_sys::processes().unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_millis(200);
        while std::time::Instant::now() < end {
            add_file(&mut builder, processes.as_fd(), &pipe, Path::new("pipe")).unwrap();
        }
        assert!(opened.try_recv().is_err(), "the pipe was opened");
        drop(fs::File::open(&pipe).unwrap());
        assert!(opened.recv().unwrap());
        writer.join().unwrap();
        for place in [&link, &file] {
            let name = Path::new(place.file_name().unwrap());
            add_file(&mut builder, processes.as_fd(), place, name).unwrap();
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
