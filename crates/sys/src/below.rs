//! What mount(2) can't do.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes a mount and all mounts below it read-only (mount_setattr(2), Linux 5.12).
///
/// # Errors
/// `InvalidInput` where the descriptor is not at the root of a mount, `Unsupported` on an older kernel.
pub fn make_read_only_below(mount: BorrowedFd<'_>) -> io::Result<()> {
    let wanted = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads an empty path and `wanted`, of the size that is given; both live across the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
