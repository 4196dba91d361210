//! The standard streams of a process: pipes, or a terminal whose master comes over a socket.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use tokio::net::unix::pipe;

/// Skep's ends.
pub(super) struct Ours {
    /// Where its output comes out, and which stream each is; a terminal's are one.
    pub(super) outputs: Vec<(u8, pipe::Receiver)>,
    /// Where its input goes in.
    pub(super) input: Option<pipe::Sender>,
    console: Option<OwnedFd>,
    /// The terminal itself, to be resized.
    pub(super) master: Option<OwnedFd>,
}

/// Makes both sides.
pub(super) fn make(terminal: bool, input: bool) -> io::Result<([OwnedFd; 3], Ours)> {
    let null = || {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(OwnedFd::from)
    };
    if terminal {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (ours, theirs) = rustix::net::socketpair(kind.0, kind.1, SocketFlags::CLOEXEC, None)?;
        let ours = Ours {
            outputs: Vec::new(),
            input: None,
            console: Some(ours),
            master: None,
        };
        return Ok(([theirs, null()?, null()?], ours));
    }
    let pair = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
    let ((out, stdout), (errors, stderr)) = (pair()?, pair()?);
    let (stdin, writer) = if input {
        let (stdin, writer) = pair()?;
        (stdin, Some(pipe::Sender::from_owned_fd(writer)?))
    } else {
        (null()?, None)
    };
    let ours = Ours {
        outputs: vec![
            (1, pipe::Receiver::from_owned_fd(out)?),
            (2, pipe::Receiver::from_owned_fd(errors)?),
        ],
        input: writer,
        console: None,
        master: None,
    };
    Ok(([stdin, stdout, stderr], ours))
}

impl Ours {
    /// Takes the terminal, once the process runs.
    pub(super) fn take_terminal(&mut self) -> io::Result<()> {
        let Some(console) = self.console.take() else {
            return Ok(());
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        rustix::net::recvmsg(&console, &mut [IoSliceMut::new(&mut [0])], &mut ancillary, flags)?;
        let master = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let master = master.ok_or_else(|| io::Error::other("the terminal was not handed over"))?;
        let nonblocking = |end: OwnedFd| rustix::io::ioctl_fionbio(&end, true).map(|()| end);
        let (reader, writer) = (
            nonblocking(master.try_clone()?)?,
            nonblocking(master.try_clone()?)?,
        );
        self.outputs = vec![(1, pipe::Receiver::from_owned_fd_unchecked(reader)?)];
        self.input = Some(pipe::Sender::from_owned_fd_unchecked(writer)?);
        self.master = Some(master);
        Ok(())
    }
}

/// Sets a terminal's size.
pub(super) fn resize(master: &OwnedFd, (rows, columns): (u16, u16)) -> io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}
