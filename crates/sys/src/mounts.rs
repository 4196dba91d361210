//! Looking at the files of another mount namespace.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Room for work that goes down a tree of folders: a path may have two thousand of them. Pages that are not touched
/// cost nothing.
const STACK: usize = 32 << 20;

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
