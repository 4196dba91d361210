//! A terminal: made inside, so that it has the name there that programs look for.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::pty::OpenptFlags;

use super::Step;
use crate::wire::{Failure, TerminalSize};

/// Makes a terminal, sends its master over a socket, and makes it this process's own and its standard streams.
pub(super) fn take(socket: &OwnedFd, size: TerminalSize, is_console: bool, user: u32) -> Result<(), Failure> {
    let step = "make a terminal";
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).step(step)?;
    rustix::pty::unlockpt(&master).step(step)?;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).step(step)?;
    let window = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&terminal, window).step(step)?;
    rustix::fs::fchown(&terminal, Some(rustix::fs::Uid::from_raw(user)), None).step(step)?;
    if is_console {
        let name = rustix::pty::ptsname(&master, Vec::new()).step(step)?;
        let _was_there = std::fs::File::create_new("/dev/console");
        rustix::mount::mount_bind(name.as_c_str(), "/dev/console").step("mount the console")?;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let masters = [master.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&masters));
    rustix::net::sendmsg(socket, &[IoSlice::new(b"t")], &mut ancillary, SendFlags::NOSIGNAL)
        .step("hand over the terminal")?;
    rustix::process::ioctl_tiocsctty(&terminal).step("take the terminal")?;
    rustix::stdio::dup2_stdin(&terminal).step(step)?;
    rustix::stdio::dup2_stdout(&terminal).step(step)?;
    rustix::stdio::dup2_stderr(&terminal).step(step)
}
