//! An archive into a folder of a child's.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::StatusCode;
use http_body_util::BodyExt;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid};
use skep_grant::Refusal;
use tar::{Entry, EntryType};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::compressed::{self, Between, Measured};
use super::{WAITING, absolute, apart, broke_off, missing, taken, unlooked};
use crate::answer::{Answer, Body, nothing};
use crate::lean::child::LeanChild;
use crate::lean::create::failed;
use crate::lean::room::Room;

/// How many bytes are kept of folders that have no dates yet.
const FOLDERS: usize = 8 << 20;

/// What is asked for.
pub(in crate::lean) struct Put<'a> {
    pub(in crate::lean) path: &'a str,
    /// Nothing becomes a folder that is none, nor the other way round.
    pub(in crate::lean) keeps_kinds: bool,
    /// Whether the child could make devices' nodes itself.
    pub(in crate::lean) makes_devices: bool,
}

/// How files are put there.
#[derive(Clone, Copy)]
struct Manner {
    keeps_kinds: bool,
    makes_devices: bool,
}

/// Reads what a request's body brings.
struct Arriving {
    body: mpsc::Receiver<Bytes>,
    piece: Bytes,
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
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// `PUT /containers/ID/archive`.
pub(in crate::lean) async fn put(
    child: &LeanChild,
    mounts: &Arc<OwnedFd>,
    asked: Put<'_>,
    mut body: Body,
    room: Room,
    (working, dictionaries): (OwnedSemaphorePermit, Arc<Semaphore>),
) -> Result<Answer, Refusal> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (place, room) = (absolute(asked.path), Arc::new(room));
    let arriving = Arriving {
        body: receiver,
        piece: Bytes::new(),
    };
    let manner = Manner {
        keeps_kinds: asked.keeps_kinds,
        makes_devices: asked.makes_devices,
    };
    let (looked, handle) = (room.clone(), Handle::current());
    let unpacking = apart(mounts, move || {
        if !fs::metadata(&place)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let place = fs::canonicalize(&place)?;
        let unpacked = looked.holds(taken()).and_then(|()| {
            let dictionary = move || {
                handle
                    .block_on(dictionaries.acquire_owned())
                    .map_err(io::Error::other)
            };
            unpack((arriving, dictionary), &place, manner, &looked)?;
            looked.holds(taken())
        });
        drop(working);
        io::Result::Ok(unpacked)
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
    let unpacked = unpacking.await.map_err(|_| broke_off())?.map_err(unlooked)?;
    whole?;
    let unpacked = match unpacked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(asked.path, child)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Refusal::malformed("extraction point is not a directory"));
        }
        Err(error) => Err(error),
        Ok(unpacked) => unpacked,
    };
    match unpacked {
        Ok(()) => Ok(nothing(StatusCode::OK)),
        Err(_) if room.is_short() => Err(room.refusal()),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Err(Refusal::forbidden("container rootfs is marked read-only"))
        }
        Err(error) => Err(failed(&format!("the archive could not be unpacked: {error}"))),
    }
}

/// Puts everything in an archive below a folder.
fn unpack<P>(
    (archive, dictionary): (impl Read, impl FnOnce() -> io::Result<P>),
    folder: &Path,
    manner: Manner,
    room: &Arc<Room>,
) -> io::Result<()> {
    let between = Between::default();
    let archive = compressed::unpacked(archive, dictionary)?;
    let mut archive = tar::Archive::new(Measured::new(archive, room.clone(), between.clone()));
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    let mut folders = Folders::default();
    let mut entries = archive.entries()?;
    loop {
        between.begins();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry?;
        between.ends();
        if let Some(made) = unpack_one(&mut entry, folder, manner, room)? {
            folders.add(made, date(&entry))?;
        }
        left_over(&mut entry)?;
    }
    folders.set_dates()
}

/// Folders that get their dates when all is in them: what is put into a folder changes its date.
#[derive(Default)]
struct Folders {
    all: Vec<(PathBuf, Timestamps)>,
    size: usize,
}

impl Folders {
    fn add(&mut self, made: PathBuf, date: Timestamps) -> io::Result<()> {
        self.size += size_of::<(PathBuf, Timestamps)>() + made.as_os_str().len();
        self.all.push((made, date));
        // An archive may name the same folder over and over.
        if self.size > FOLDERS {
            self.set_dates()?;
        }
        Ok(())
    }

    fn set_dates(&mut self) -> io::Result<()> {
        self.size = 0;
        for (made, date) in std::mem::take(&mut self.all).iter().rev() {
            set_date(made, date)?;
        }
        Ok(())
    }
}

/// Reads what of an entry nobody wanted. The holes of a sparse file are no bytes of the archive, and may be as large as
/// a number can say: they are never read.
fn left_over<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<()> {
    if entry.header().entry_type().is_gnu_sparse() {
        return match entry.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(invalid("a folder can't be a sparse file".to_owned())),
        };
    }
    io::copy(entry, &mut io::sink()).map(drop)
}

fn invalid(message: String) -> io::Error {
    io::Error::other(message)
}

/// The path of an entry below a folder, with nothing in it that leads out.
fn below(folder: &Path, name: &Path) -> io::Result<PathBuf> {
    let mut place = folder.to_owned();
    for part in name.components() {
        match part {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => place.push(part),
            // Above the root is the root.
            Component::ParentDir => drop(place.pop()),
        }
    }
    if place.starts_with(folder) {
        return Ok(place);
    }
    Err(invalid(format!(
        "{:?} is outside of {:?}",
        name.display().to_string(),
        folder.display().to_string()
    )))
}

/// Puts one entry in its place, and gives that where it is a folder.
fn unpack_one<R: Read>(
    entry: &mut Entry<'_, R>,
    folder: &Path,
    manner: Manner,
    room: &Room,
) -> io::Result<Option<PathBuf>> {
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(None);
    }
    let name = entry.path()?.into_owned();
    let place = below(folder, &name)?;
    if place == folder {
        return Ok(None);
    }
    if let Some(above) = place.parent().filter(|above| !above.is_dir()) {
        fs::create_dir_all(above)?;
        // A name may be two thousand folders.
        room.holds(taken())?;
    }
    make_way(&place, kind.is_dir(), manner)?;
    match kind {
        EntryType::Link => {
            let target = entry.link_name()?;
            let target = target.ok_or_else(|| invalid(format!("{} is a link to nothing", name.display())))?;
            fs::hard_link(below(folder, &target)?, &place)?;
        }
        EntryType::Fifo => make_node(entry, &place, FileType::Fifo)?,
        EntryType::Char | EntryType::Block if !manner.makes_devices => {
            return Err(invalid(format!(
                "{} is a device's node, and this container may make none",
                name.display()
            )));
        }
        EntryType::Char => make_node(entry, &place, FileType::CharacterDevice)?,
        EntryType::Block => make_node(entry, &place, FileType::BlockDevice)?,
        _ => drop(entry.unpack(&place)?),
    }
    Ok(Some(place).filter(|place| kind.is_dir() && !place.is_symlink()))
}

/// Takes away what stands where something else is put.
fn make_way(place: &Path, is_folder: bool, manner: Manner) -> io::Result<()> {
    let Ok(there) = fs::symlink_metadata(place) else {
        return Ok(());
    };
    let shown = place.display().to_string();
    match (there.is_dir(), is_folder) {
        (true, true) => Ok(()),
        (true, false) if manner.keeps_kinds => Err(invalid(format!(
            "cannot overwrite directory {shown:?} with non-directory"
        ))),
        (false, true) if manner.keeps_kinds => Err(invalid(format!(
            "cannot overwrite non-directory {shown:?} with directory"
        ))),
        (true, false) => fs::remove_dir_all(place),
        (false, _) => fs::remove_file(place),
    }
}

/// Makes a pipe or a device's node.
fn make_node<R: Read>(entry: &Entry<'_, R>, place: &Path, kind: FileType) -> io::Result<()> {
    let header = entry.header();
    let number = |part: io::Result<Option<u32>>| part.map(Option::unwrap_or_default);
    let device = match kind {
        FileType::Fifo => 0,
        _ => rustix::fs::makedev(number(header.device_major())?, number(header.device_minor())?),
    };
    let mode = Mode::from_raw_mode(header.mode()?);
    let owner = |id: u64| u32::try_from(id).map_err(io::Error::other);
    let (user, group) = (owner(header.uid()?)?, owner(header.gid()?)?);
    rustix::fs::mknodat(CWD, place, kind, mode, device)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(
        CWD,
        place,
        Some(Uid::from_raw(user)),
        Some(Gid::from_raw(group)),
        flags,
    )?;
    // The mask took some of it.
    rustix::fs::chmodat(CWD, place, mode, AtFlags::empty())?;
    set_date(place, &date(entry))
}

fn date<R: Read>(entry: &Entry<'_, R>) -> Timestamps {
    let time = Timespec {
        tv_sec: entry
            .header()
            .mtime()
            .ok()
            .and_then(|time| time.try_into().ok())
            .unwrap_or(0),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn set_date(place: &Path, date: &Timestamps) -> io::Result<()> {
    match rustix::fs::utimensat(CWD, place, date, AtFlags::SYMLINK_NOFOLLOW) {
        // Somebody inside took it away meanwhile.
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_archive_leads_out_of_the_folder_that_it_is_put_into() {
        let at = |folder: &str, name: &str| below(Path::new(folder), Path::new(name)).ok();
        assert_eq!(at("/tmp", "./a/../b"), Some("/tmp/b".into()));
        assert_eq!(at("/tmp", "/etc/passwd"), Some("/tmp/etc/passwd".into()));
        assert_eq!(at("/", "../../a"), Some("/a".into()));
        for outside in ["..", "../a", "a/../../b", "../tmpx"] {
            assert_eq!(at("/tmp", outside), None, "{outside}");
        }
    }

    #[test]
    fn a_folder_that_is_named_over_and_over_is_not_kept_as_often() {
        let folder = std::env::temp_dir().join(format!("skep-folders-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let time = Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 0,
        };
        let mut folders = Folders::default();
        for _ in 0..200_000 {
            let date = Timestamps {
                last_access: time,
                last_modification: time,
            };
            folders.add(folder.clone(), date).unwrap();
            assert!(folders.all.len() * size_of::<(PathBuf, Timestamps)>() <= FOLDERS);
        }
        folders.set_dates().unwrap();
        let date = std::os::unix::fs::MetadataExt::mtime(&fs::metadata(&folder).unwrap());
        fs::remove_dir(&folder).unwrap();
        assert_eq!(date, time.tv_sec);
    }
}
