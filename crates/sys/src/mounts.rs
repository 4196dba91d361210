//! Looking at the files of another mount namespace.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Does something in a mount namespace, in a thread of its own that ends with it; its `/` is that namespace's root. It
/// waits for the end.
///
/// # Errors
/// What the kernel answers.
pub fn in_mounts<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = std::thread::Builder::new()
            .name("skep-mounts".to_owned())
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
