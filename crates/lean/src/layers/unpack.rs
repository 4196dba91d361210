//! An exported root file system, unpacked into a folder. Whoever made the image chose every name and link in it, so
//! nothing is ever opened through a link, and no name leads out of the folder.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use tar::{Entry, EntryType, Header};

/// Where in an archive an extended attribute stands (pax, as star and Docker write it).
const ATTRIBUTE: &str = "SCHILY.xattr.";
/// Those that are taken over: rights that a file gives, and the users' own. What an overlay writes for itself would
/// change what is seen through it.
const ATTRIBUTES: [&str; 2] = ["security.capability", "user."];

/// Unpacks all of it; owners, modes, dates, links and devices as they are there.
///
/// # Errors
/// What could not be made, by its name in the archive.
pub(super) fn unpack(archive: impl Read, folder: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty())?;
    let mut unpacking = Unpacking {
        root,
        folders: Vec::new(),
    };
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = PathBuf::from(entry.path()?.as_os_str());
        unpacking
            .entry(&mut entry)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name.display())))?;
    }
    unpacking.date_folders()
}

struct Unpacking {
    root: OwnedFd,
    /// Folders and their dates, which what is put into them would change.
    folders: Vec<(PathBuf, Timestamps)>,
}

impl Unpacking {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let name = inside(&entry.path()?)?;
        let attributes = attributes(entry)?;
        let kind = entry.header().entry_type();
        let about = About::of(entry.header())?;
        if name.as_os_str().is_empty() {
            return match kind {
                EntryType::Directory => about.give(&open(&self.root, Path::new("."))?, &attributes),
                _ => Err(hostile("the root is not a folder")),
            };
        }
        let (parent, last) = self.place(&name)?;
        let parent = parent.as_fd();
        match kind {
            EntryType::Directory => {
                match rustix::fs::mkdirat(parent, last, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                about.give(&open(&parent, last)?, &attributes)?;
                self.folders.push((name, about.times()));
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, last, flags, Mode::from_raw_mode(0o600))?;
                let mut file = File::from(file);
                io::copy(entry, &mut file)?;
                let file = OwnedFd::from(file);
                about.give(&file, &attributes)?;
                rustix::fs::futimens(&file, &about.times())?;
            }
            EntryType::Link => {
                let target = entry.link_name()?.ok_or_else(|| hostile("a link to nothing"))?;
                let (folder, target) = self.place_of(&inside(&target)?)?;
                rustix::fs::linkat(folder, target.as_path(), parent, last, AtFlags::empty())?;
            }
            EntryType::Symlink => {
                let target = entry
                    .link_name_bytes()
                    .ok_or_else(|| hostile("a link to nothing"))?;
                rustix::fs::symlinkat(&*target, parent, last)?;
                about.own(parent, last)?;
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                let device = device(entry.header(), kind)?;
                let mode = Mode::from_raw_mode(0o600);
                let kind = match kind {
                    EntryType::Fifo => FileType::Fifo,
                    EntryType::Char => FileType::CharacterDevice,
                    _ => FileType::BlockDevice,
                };
                rustix::fs::mknodat(parent, last, kind, mode, device)?;
                about.own(parent, last)?;
                // The name is new, and nobody else writes here.
                rustix::fs::chmodat(parent, last, about.mode, AtFlags::empty())?;
            }
            EntryType::XGlobalHeader => {}
            other => return Err(hostile(&format!("an entry of the kind {other:?}"))),
        }
        Ok(())
    }

    /// The folder in which an entry stands, and its name there.
    fn place<'name>(&self, name: &'name Path) -> io::Result<(OwnedFd, &'name Path)> {
        let last = name.file_name().map(Path::new);
        let last = last.ok_or_else(|| hostile("an entry without a name"))?;
        let parent = name.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = self.folder(parent.unwrap_or(Path::new(".")))?;
        Ok((folder, last))
    }

    fn place_of(&self, name: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let (folder, last) = self.place(name)?;
        Ok((folder, last.to_owned()))
    }

    /// A folder that stands; made, as archives expect it, where it has no entry of its own.
    fn folder(&self, name: &Path) -> io::Result<OwnedFd> {
        match open(&self.root, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut at = open(&self.root, Path::new("."))?;
        for part in name.components() {
            match rustix::fs::mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => at = open(&at, Path::new(part.as_os_str()))?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(at)
    }

    fn date_folders(&self) -> io::Result<()> {
        for (name, times) in self.folders.iter().rev() {
            let (folder, last) = self.place(name)?;
            rustix::fs::utimensat(folder, last, times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

/// A folder below another, with no link on the way and none at its end.
fn open(folder: &impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve)?)
}

/// A name as a path below the folder.
fn inside(name: &Path) -> io::Result<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(hostile("a name that leads upwards")),
        }
    }
    Ok(path)
}

fn hostile(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive has {what}"))
}

fn device(header: &Header, kind: EntryType) -> io::Result<u64> {
    if kind == EntryType::Fifo {
        return Ok(0);
    }
    let (major, minor) = (header.device_major()?, header.device_minor()?);
    let (major, minor) = (major.unwrap_or_default(), minor.unwrap_or_default());
    if kind == EntryType::Char && (major, minor) == (0, 0) {
        return Err(hostile(
            "the device 0:0, which an overlay takes for a removed file",
        ));
    }
    Ok(rustix::fs::makedev(major, minor))
}

/// Whose an entry is, since when, and what may be done with it.
struct About {
    user: Uid,
    group: Gid,
    mode: Mode,
    modified: i64,
}

impl About {
    fn of(header: &Header) -> io::Result<Self> {
        let number =
            |number: u64| u32::try_from(number).map_err(|_| hostile("an owner that no system knows"));
        Ok(Self {
            user: Uid::from_raw(number(header.uid()?)?),
            group: Gid::from_raw(number(header.gid()?)?),
            mode: Mode::from_raw_mode(header.mode()? & 0o7777),
            modified: i64::try_from(header.mtime()?).unwrap_or_default(),
        })
    }

    fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.modified,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }

    /// In the order in which none takes back another: a change of the owner clears the rights that a file gives.
    fn give(&self, file: &OwnedFd, attributes: &[(String, Vec<u8>)]) -> io::Result<()> {
        rustix::fs::fchown(file, Some(self.user), Some(self.group))?;
        rustix::fs::fchmod(file, self.mode)?;
        for (name, value) in attributes {
            rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty())?;
        }
        Ok(())
    }

    /// The same for what can't be opened.
    fn own(&self, folder: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(folder, name, Some(self.user), Some(self.group), flags)?;
        Ok(rustix::fs::utimensat(folder, name, &self.times(), flags)?)
    }
}

fn attributes(entry: &mut Entry<'_, impl Read>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut attributes = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(ATTRIBUTE)) else {
            continue;
        };
        if ATTRIBUTES.iter().any(|known| name.starts_with(known)) {
            attributes.push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use tar::Builder;

    use super::*;

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o640);
        header.set_mtime(86_400);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_uid(rustix::process::getuid().as_raw().into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        header.set_cksum();
        header
    }

    /// A name as it stands there, which the builder itself would refuse.
    fn raw(name: &str, target: Option<&str>, mut header: Header) -> Header {
        let field = &mut header.as_old_mut().name;
        field.fill(0);
        field[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(target) = target {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        }
        header.set_cksum();
        header
    }

    fn unpacked(entries: &[(&str, EntryType, &str)], folder: &Path) -> io::Result<()> {
        let mut archive = Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let is_file = *kind == EntryType::Regular;
            let (content, target) = if is_file { (*text, None) } else { ("", Some(*text)) };
            let header = raw(name, target, header(*kind, content.len() as u64));
            archive.append(&header, content.as_bytes())?;
        }
        unpack(archive.into_inner()?.as_slice(), folder)
    }

    #[test]
    fn files_folders_and_links_are_as_the_archive_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [
            ("./", EntryType::Directory, ""),
            ("a/", EntryType::Directory, ""),
            ("a/file", EntryType::Regular, "text"),
            ("a/.wh.file", EntryType::Regular, "an ordinary name"),
            ("/b/deep/file", EntryType::Regular, "made on the way"),
            ("hard", EntryType::Link, "a/file"),
            ("soft", EntryType::Symlink, "/etc/passwd"),
            ("up", EntryType::Symlink, "../../.."),
        ];
        unpacked(&entries, folder.path()).unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(std::fs::read_to_string(at("hard")).unwrap(), "text");
        let about = at("a/file").metadata().unwrap();
        assert_eq!(
            (about.nlink(), about.mode() & 0o7777, about.mtime()),
            (2, 0o640, 86_400)
        );
        assert_eq!(at("a").metadata().unwrap().mtime(), 86_400);
        assert_eq!(at("soft").symlink_metadata().unwrap().mtime(), 86_400);
        assert_eq!(std::fs::read_link(at("up")).unwrap(), Path::new("../../.."));
        assert!(at("b/deep/file").exists() && at("a/.wh.file").exists());
    }

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let outside = parent.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let away = outside.display().to_string();
        let hostile: [&[(&str, EntryType, &str)]; 7] = [
            &[("../outside/file", EntryType::Regular, "x")],
            &[("a/../../outside/file", EntryType::Regular, "x")],
            &[
                ("link", EntryType::Symlink, &away),
                ("link/file", EntryType::Regular, "x"),
            ],
            &[
                ("link", EntryType::Symlink, &away),
                ("link/", EntryType::Directory, ""),
            ],
            &[
                ("link", EntryType::Symlink, "../outside/file"),
                ("link", EntryType::Regular, "x"),
            ],
            &[("hard", EntryType::Link, "../outside/file")],
            &[
                ("link", EntryType::Symlink, &away),
                ("hard", EntryType::Link, "link/file"),
            ],
        ];
        for (number, entries) in hostile.iter().enumerate() {
            std::fs::write(outside.join("file"), "theirs").unwrap();
            let folder = parent.path().join(number.to_string());
            std::fs::create_dir(&folder).unwrap();
            assert!(unpacked(entries, &folder).is_err(), "{entries:?}");
            let theirs = outside.join("file").metadata().unwrap();
            assert_eq!((theirs.len(), theirs.nlink()), (6, 1), "{entries:?}");
        }
    }

    #[test]
    fn what_an_overlay_would_take_for_its_own_is_refused_or_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let error = unpacked(&[("gone", EntryType::Char, "")], folder.path()).unwrap_err();
        assert!(
            error.to_string().contains("gone: the archive has the device 0:0"),
            "{error}"
        );
        let mut archive = Builder::new(Vec::new());
        let pairs = [
            ("SCHILY.xattr.trusted.overlay.opaque", &b"y"[..]),
            ("SCHILY.xattr.user.kept", b"value"),
        ];
        archive.append_pax_extensions(pairs).unwrap();
        archive
            .append(&raw("file", None, header(EntryType::Regular, 0)), io::empty())
            .unwrap();
        let archive = archive.into_inner().unwrap();
        unpack(archive.as_slice(), folder.path()).unwrap();
        let mut value = [0; 16];
        let file = folder.path().join("file");
        let length = rustix::fs::getxattr(&file, "user.kept", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"value");
        assert!(rustix::fs::getxattr(&file, "trusted.overlay.opaque", &mut value[..]).is_err());
    }
}
