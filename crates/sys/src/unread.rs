//! How much the other end of a Unix socket has not read yet.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What was written to a connected Unix socket and waits to be read at its other end: 0 when that took everything, and
/// otherwise some number of the kernel's (`SIOCOUTQ`, unix(7)).
///
/// # Errors
/// It is no socket.
pub fn unread_by_peer(socket: impl AsFd) -> io::Result<usize> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed and open, and the kernel writes one int to where it is pointed.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) };
    if asked == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(waiting).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::unread_by_peer;

    #[test]
    fn what_was_read_is_no_longer_waiting() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(&one).unwrap(), 0);
        one.write_all(b"words").unwrap();
        assert!(unread_by_peer(&one).unwrap() > 0);
        other.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(unread_by_peer(&one).unwrap(), 0);
    }
}
