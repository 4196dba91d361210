//! Looking at the files of another mount namespace.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Room for work that goes down a tree of folders: a path may have two thousand of them. Pages that are not touched
/// cost nothing.
const STACK: usize = 32 << 20;
/// How often mounts are looked for whose place somebody may be moving.
const LOOKS: usize = 8;
/// What holds no files of an image, and would be written from somebody else's memory.
const COVERING: [&str; 7] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// Does something in a mount namespace, in a thread of its own that ends with it; its `/` is that namespace's root. It
/// waits for the end.
///
/// # Errors
/// What the kernel answers.
pub fn in_mounts<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = std::thread::Builder::new()
            .name("skep-mounts".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                // SAFETY: only the root and the working directory are no longer shared, which nothing in this thread has
                // looked at before; descriptors stay shared with the rest of the process.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?;
                rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))?;
                Ok::<_, io::Error>(work())
            })?;
        inside
            .join()
            .map_err(|_| io::Error::other("the work in the mount namespace panicked"))?
    })
}

/// The same among its files alone: what the kernel shows of itself there and what is mounted from memory is out of the
/// way. A link below `/proc` leads wherever a process in there has something open, and that may be outside.
///
/// # Errors
/// What the kernel answers.
pub fn in_files<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let processes = processes()?;
    in_mounts(namespace, || uncover(processes.as_fd()).map(|()| work()))?
}

/// The host's `/proc`, for a path to it leads nowhere from inside.
///
/// # Errors
/// What the kernel answers.
pub fn processes() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc", flags, Mode::empty())?)
}

/// Opens for reading what stands at a path, where that is a file and neither a link nor a device nor a pipe: those would
/// notice that they are opened. `processes` is the host's `/proc`.
///
/// # Errors
/// What the kernel answers.
pub fn open_file(processes: BorrowedFd<'_>, path: &Path) -> io::Result<Option<File>> {
    let looked = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::open(path, looked, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    again(processes, &found, flags).map(Some)
}

/// Opens what was looked at, whatever stands at its path by now.
pub(crate) fn again(processes: BorrowedFd<'_>, found: &OwnedFd, flags: OFlags) -> io::Result<File> {
    let place = format!("thread-self/fd/{}", found.as_raw_fd());
    Ok(File::from(rustix::fs::openat(
        processes,
        place,
        flags,
        Mode::empty(),
    )?))
}

/// Gives this thread a copy of the mount namespace: what it changes there, nobody else sees.
pub(crate) fn copied() -> io::Result<()> {
    // SAFETY: descriptors stay shared with the rest of the process, and nothing else but the mounts is made anew.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    Ok(())
}

/// All mounts that this thread sees (proc_pid_mountinfo(5)).
pub(crate) fn list(processes: BorrowedFd<'_>) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let list = rustix::fs::openat(processes, "thread-self/mountinfo", flags, Mode::empty())?;
    io::read_to_string(File::from(list))
}

/// Takes away what covers files, in a copy of the namespace that is this thread's own.
fn uncover(processes: BorrowedFd<'_>) -> io::Result<()> {
    copied()?;
    for _ in 0..LOOKS {
        let list = list(processes)?;
        let mut covering = list.lines().rev().filter_map(covering).peekable();
        if covering.peek().is_none() {
            return Ok(());
        }
        for place in covering {
            match rustix::mount::unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                // Gone with the one that it stood in, or its place was moved: the next look tells.
                Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(io::Error::other("its folders are being moved"))
}

/// Where a line of `mountinfo` (proc_pid_mountinfo(5)) says that something stands that covers files.
fn covering(line: &str) -> Option<OsString> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, place) = (fields.next()?, fields.next()?);
    // A bind of one file of such a file system is the file that the place should have.
    let covers = COVERING.contains(&after.split(' ').next()?) && root == "/" && place != "/";
    covers.then(|| unescaped(place))
}

fn unescaped(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, escaped) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_files_is_found_wherever_it_stands() {
        let line = |root: &str, place: &str, kind: &str| {
            covering(&format!(
                "443 442 0:144 {root} {place} rw,nosuid shared:1 - {kind} none rw"
            ))
        };
        assert_eq!(line("/", "/proc", "proc"), Some("/proc".into()));
        assert_eq!(line("/", "/a\\040b\\134", "tmpfs"), Some("/a b\\".into()));
        assert_eq!(line("/", "/", "tmpfs"), None);
        assert_eq!(line("/files/0", "/etc/hosts", "tmpfs"), None);
        assert_eq!(line("/", "/data", "ext4"), None);
    }
}
