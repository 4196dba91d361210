//! Paths below a root that may be hostile: no link in an image leads out of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The most links that a path may lead over.
const LINKS: usize = 255;

/// A folder that stands for `/`.
pub(super) struct Rooted {
    folder: OwnedFd,
}

impl Rooted {
    pub(super) fn new(folder: OwnedFd) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Opens what a path means inside, as a place (`O_PATH`).
    pub(super) fn open(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(
            &self.folder,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    }

    /// Opens a folder on whose path no link stands.
    pub(super) fn open_plain_folder(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
        rustix::fs::openat2(
            &self.folder,
            path.trim_start_matches('/'),
            flags,
            Mode::empty(),
            resolve,
        )
    }

    /// Opens a folder, made with its parents where it isn't there; at the end of a link that leads to nothing too.
    pub(super) fn make_folder(&self, path: &str) -> io::Result<OwnedFd> {
        match self.open(path) {
            Err(Errno::NOENT) => {
                let path = self.without_links(path)?;
                let (parent, name) = self.make_parent(&path)?;
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => Ok(self.open(&path)?),
                    Err(error) => Err(error.into()),
                }
            }
            other => Ok(other?),
        }
    }

    /// Opens a file, made empty with its parents where it isn't there; at the end of a link that leads to nothing too.
    pub(super) fn make_file(&self, path: &str) -> io::Result<OwnedFd> {
        match self.open(path) {
            Err(Errno::NOENT) => {
                let path = self.without_links(path)?;
                let (parent, name) = self.make_parent(&path)?;
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
                    Ok(_) | Err(Errno::EXIST) => Ok(self.open(&path)?),
                    Err(error) => Err(error.into()),
                }
            }
            other => Ok(other?),
        }
    }

    /// Where a path leads inside, though some of it may not be there yet.
    fn without_links(&self, path: &str) -> io::Result<String> {
        let words = |path: &str| -> Vec<String> { path.rsplit('/').map(str::to_owned).collect() };
        let (mut left, mut found, mut followed) = (words(path), Vec::new(), 0);
        while let Some(word) = left.pop() {
            match word.as_str() {
                "" | "." => continue,
                ".." => {
                    found.pop();
                    continue;
                }
                _ => {}
            }
            found.push(word);
            let Some(to) = self.link(&format!("/{}", found.join("/")))? else {
                continue;
            };
            followed += 1;
            if followed > LINKS {
                return Err(Errno::LOOP.into());
            }
            if to.starts_with('/') {
                found.clear();
            } else {
                found.pop();
            }
            left.extend(words(&to));
        }
        Ok(format!("/{}", found.join("/")))
    }

    /// Where a link leads; `None` for anything else.
    fn link(&self, path: &str) -> io::Result<Option<String>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve);
        let read = opened.and_then(|opened| rustix::fs::readlinkat(opened, "", Vec::new()));
        match read {
            Ok(to) => {
                let to = to.into_string();
                to.map(Some).map_err(|_| Errno::ILSEQ.into())
            }
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder in which the last part of a path stands, and that part.
    pub(super) fn make_parent<'a>(&self, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        let path = path.trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || name == "." || name == ".." {
            return Err(io::Error::from_raw_os_error(Errno::INVAL.raw_os_error()));
        }
        let parent = if parent.is_empty() {
            self.open("/")?
        } else {
            self.make_folder(parent)?
        };
        Ok((parent, name))
    }
}

/// A path that means an open place, for the calls that take nothing but paths.
pub(super) fn place(descriptor: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}
