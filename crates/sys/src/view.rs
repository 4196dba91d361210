//! A file as it can only be read, whoever asks.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::mount::OpenTreeFlags;

/// A file on a mount of its own that is read-only, and that stands nowhere. Whoever comes by the file this way, through
/// `/proc/PID/exe` of a process that runs it, say, can't write it, whatever rights they have.
///
/// # Errors
/// Where the kernel (before 5.12) or the file system can't do that, or the right (`CAP_SYS_ADMIN`) is missing.
pub fn read_only_view(file: impl AsFd) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let view = rustix::mount::open_tree(file, "", flags)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a string that ends, the structure is as long as is said and is only read, and both outlive
    // the call, which keeps neither.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            view.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 {
        Ok(view)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_seen_so_can_be_read_and_not_written() {
        let path = std::env::temp_dir().join(format!("skep-view-{}", std::process::id()));
        File::create(&path)
            .expect("a file")
            .write_all(b"text")
            .expect("written");
        let view = read_only_view(File::open(&path).expect("a file")).expect("a right that lean needs");
        let again = format!("/proc/self/fd/{}", view.as_raw_fd());
        assert_eq!(std::fs::read_to_string(&again).expect("it is read"), "text");
        let written = File::options().write(true).open(&again);
        assert_eq!(
            written.expect_err("it must not be written").kind(),
            io::ErrorKind::ReadOnlyFilesystem
        );
        std::fs::write(&path, "more").expect("the file itself is as it was");
        std::fs::remove_file(&path).expect("removed");
    }
}
