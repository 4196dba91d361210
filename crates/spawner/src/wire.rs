//! What the two processes say to each other: one message a datagram, file descriptors beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::spec::{Identity, Spec};

/// The largest message, in bytes: a spec with hundreds of mounts and variables fits.
const MAX_MESSAGE: usize = 1 << 20;

/// The most descriptors that go with a message.
const MAX_DESCRIPTORS: usize = 5;

/// A request for one instance of a prepared spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which spec, by the number it was prepared under.
    pub spec: u64,
    /// The instance's name: of its cgroups and its session keyring.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// `NAME=value`, over the spec's.
    pub environment: Vec<String>,
    /// Contents of the files that the spec mounts by number.
    pub files: Vec<String>,
    /// Files of the host that this launch alone is shown: where they are, and where they stand inside.
    pub binds: Vec<(String, String)>,
    /// In a network of its own: the port of its loopback on which a listener is to be open before its program begins.
    pub listener: Option<u16>,
}

/// A request for an instance made up to its program's start, of a spec without binds: what those show is looked at when
/// an instance starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Which spec, by the number it was prepared under.
    pub spec: u64,
    /// The name of its cgroups and its session keyring.
    pub name: String,
    /// As [`Launch::listener`].
    pub listener: Option<u16>,
    /// What it has of its own; neither a terminal nor an earlier root.
    pub own: Option<Own>,
}

/// What an instance that was made ahead lacks; its streams go with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// As [`Launch::hostname`].
    pub hostname: String,
    /// As [`Launch::environment`]; none for one with something of its own.
    pub environment: Vec<String>,
    /// As [`Launch::files`].
    pub files: Vec<String>,
}

/// What an instance that is made ahead says on its line. From its order on silence is success: its exec closes the line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// It waits for its order; its listener goes with this, where one was asked for.
    Ready,
    /// It ended.
    Failed(Failure),
}

/// What one launch has of its own, where instances of one spec are not all alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// The command and its arguments, in the place of the spec's; without any its root is made and nothing is run.
    pub arguments: Vec<String>,
    /// All of its environment, in the place of the spec's and of the launch's.
    pub environment: Vec<String>,
    /// Whether it has a terminal, of this size; its master is sent over the standard input, which is a socket then.
    pub terminal: Option<TerminalSize>,
    /// Whether it goes on with the root of an earlier launch, whose mount namespace comes with the streams.
    pub resumes: bool,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

/// One more process in an instance that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// The launch whose instance it joins ([`crate::Child::id`]).
    pub instance: u64,
    /// The command and its arguments.
    pub arguments: Vec<String>,
    /// All of its environment.
    pub environment: Vec<String>,
    /// The working directory.
    pub directory: String,
    /// Who it runs as.
    pub identity: Identity,
    /// Whether it has a terminal, of this size.
    pub terminal: Option<TerminalSize>,
}

/// The descriptors that an instance starts with.
#[derive(Debug)]
pub struct Streams {
    /// Its standard input.
    pub stdin: OwnedFd,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
    /// The network namespace that it runs in; `None` gives it an empty one of its own.
    pub network: Option<OwnedFd>,
}

/// All that comes with the order for one.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) streams: Streams,
    /// Where its listener is to be given, with [`Launch::listener`].
    pub(crate) listener: Option<OwnedFd>,
    /// The mount namespace of the launch that it goes on with, with [`Own::resumes`].
    pub(crate) root: Option<OwnedFd>,
}

/// From the served process to the spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Keeps a spec under a number.
    Prepare { id: u64, spec: Arc<Spec> },
    /// Forgets it.
    Forget { id: u64 },
    /// Makes an instance. Its streams go with the message, then what is given for a listener or a root to go on with,
    /// then its network.
    Launch {
        id: u64,
        launch: Launch,
        own: Option<Own>,
    },
    /// Makes an instance up to its program's start. The other end of its line goes with the message, then its network.
    Ahead { id: u64, ahead: Ahead },
    /// Makes one more process in an instance. Its streams go with the message.
    Join { id: u64, joining: Joining },
}

/// From the spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The process runs its own program, or says on its line how far it is; its pidfd goes with the message, and its mount
    /// namespace where it has something of its own.
    Launched { id: u64, process: u32 },
    /// Nothing was started, and nothing is left of the attempt.
    Failed { id: u64, failure: Failure },
    /// The process ended, its cgroups are gone.
    Exited { id: u64, exited: Exited },
}

/// Why an instance could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {}", io::Error::from_raw_os_error(*.error))]
pub struct Failure {
    /// What was being done, with the path or the value.
    pub step: String,
    /// The kernel's answer (errno).
    pub error: i32,
    /// Whether the template is at fault (no such command, a bind's source is missing) and not this machine.
    pub template: bool,
}

/// How an instance's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Its exit code; 128 + signal where a signal ended it.
    pub code: i32,
    /// Whether the kernel ended a process of it for want of memory.
    pub out_of_memory: bool,
}

/// Sends one message.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            socket,
            &[IoSlice::new(&bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    // Just as large as it has to be: what the spawner's memory holds, each fork copies the map of.
    let look = RecvFlags::PEEK | RecvFlags::TRUNC;
    let (_, length) = rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut [0_u8; 0][..], look))?;
    buffer.resize(length.max(1), 0);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let flags = RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags)
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let message = serde_json::from_slice(&buffer[..received.bytes]).map_err(io::Error::other)?;
    Ok(Some((message, descriptors)))
}

/// A connected pair of sockets, one end for each process.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    for end in [&ours, &theirs] {
        sockopt::set_socket_send_buffer_size(end.as_fd(), MAX_MESSAGE)?;
    }
    Ok((ours, theirs))
}
