//! Writing to a file that stands in another mount namespace and came from outside.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountFlags;

use crate::mounts::{again, copied, in_mounts, list, processes};

/// The largest file that is edited: whoever made a longer one of it looks after it alone.
const LARGEST: u64 = 1 << 20;

/// Edits a file that was mounted from memory at an absolute path in a mount namespace, in its place and also where it
/// can only be read there; `false` where something else stands at that path by now. It waits for the kernel.
///
/// # Errors
/// What the kernel answers.
pub fn edit_mounted(
    namespace: BorrowedFd<'_>,
    path: &str,
    edit: impl FnOnce(String) -> String + Send,
) -> io::Result<bool> {
    let processes = processes()?;
    in_mounts(namespace, || {
        copied()?;
        let list = list(processes.as_fd())?;
        let topmost = list.lines().rev().find(|line| place(line) == Some(path));
        let Some(device) = topmost.and_then(device) else {
            return Ok(false);
        };
        // In this thread's copy of the mounts alone.
        rustix::mount::mount_remount(path, MountFlags::BIND, "")?;
        let Some(file) = at(path)? else {
            return Ok(false);
        };
        let found = rustix::fs::fstat(&file)?;
        let number = (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
        if number != device || FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        // What is opened now is what was looked at: a device would notice that it is opened.
        // Who has a lease on it (fcntl(2)) is not waited for.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match again(processes.as_fd(), &file, flags) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            other => other?,
        };
        let mut own = String::new();
        if (&file).take(LARGEST + 1).read_to_string(&mut own)? as u64 > LARGEST {
            return Ok(false);
        }
        let new = edit(own);
        // Never empty for who reads it meanwhile.
        file.write_all_at(new.as_bytes(), 0)?;
        file.set_len(new.len() as u64)?;
        Ok(true)
    })?
}

/// Opens what stands at a path without following a link, whoever made it, and without touching it.
fn at(path: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::open("/", flags, Mode::empty())?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let next = rustix::fs::openat(&at, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) == FileType::Symlink {
            return Ok(None);
        }
        at = next;
    }
    Ok(Some(at))
}

/// Where a line of `mountinfo` (proc_pid_mountinfo(5)) says that something is mounted.
fn place(line: &str) -> Option<&str> {
    line.split(' ').nth(4)
}

/// The device of what is mounted, where that is one file of a file system in memory.
fn device(line: &str) -> Option<(u32, u32)> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let is_file = fields.next()? != "/" && after.split(' ').next()? == "tmpfs";
    is_file.then_some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_was_mounted_from_memory_is_edited() {
        let line =
            |root: &str, kind: &str| format!("443 442 0:144 {root} /etc/hosts rw,nosuid - {kind} none rw");
        assert_eq!(place(&line("/files/2", "tmpfs")), Some("/etc/hosts"));
        assert_eq!(device(&line("/files/2", "tmpfs")), Some((0, 144)));
        assert_eq!(device(&line("/", "tmpfs")), None);
        assert_eq!(device(&line("/var/lib/hosts", "ext4")), None);
    }
}
