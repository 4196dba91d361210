//! Which TCP sockets listen in a network namespace, asked of the kernel itself (sock_diag(7)): it looks at those
//! alone, where `/proc/PID/net/tcp` walks through a table of all connections of the machine, milliseconds long.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use rustix::thread::LinkNameSpaceType;

use crate::sockets::ListeningSocket;

// linux/sock_diag.h, linux/netlink.h, linux/inet_diag.h, linux/in.h, net/tcp_states.h
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const INTERRUPTED: u16 = 0x10;
const TCP: u8 = 6;
const LISTENING: u32 = 1 << 10;
const INET: u8 = 2;
const INET6: u8 = 10;
/// The sizes of `nlmsghdr`, `inet_diag_req_v2` and `inet_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 72;

/// Every TCP socket that listens in the network namespace of a process.
///
/// # Errors
/// `NotFound` where no such process runs; else what a kernel answers that has no such questions.
pub(crate) fn of_process(process: u32) -> io::Result<Vec<ListeningSocket>> {
    let namespace = File::open(format!("/proc/{process}/ns/net"))?;
    let socket = socket_in(namespace)?;
    let mut found = Vec::new();
    for family in [INET, INET6] {
        ask(&socket, family, &mut found)?;
    }
    Ok(found)
}

/// Only the making has to be inside, in a thread that is of no use to anybody afterwards.
fn socket_in(namespace: File) -> io::Result<OwnedFd> {
    let make = move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
        rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::SOCK_DIAG))
    };
    let thread = std::thread::Builder::new().name("skep-listening".to_owned());
    let made = thread.spawn(make)?.join();
    let made = made.map_err(|_| io::Error::other("the thread that enters a namespace broke off"))?;
    Ok(made?)
}

fn ask(socket: &OwnedFd, family: u8, found: &mut Vec<ListeningSocket>) -> io::Result<()> {
    rustix::net::send(socket, &question(family), SendFlags::empty())?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let (length, _) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::empty())
        })?;
        let mut rest = &buffer[..length];
        while let Some(message) = next(&mut rest)? {
            match message.kind {
                DONE => return Ok(()),
                ERROR => return Err(error(message.body)),
                _ if message.flags & INTERRUPTED != 0 => {
                    return Err(io::Error::other("the sockets changed while they were listed"));
                }
                _ => found.extend(socket_of(message.body)),
            }
        }
    }
}

fn question(family: u8) -> [u8; HEADER + QUESTION] {
    let mut bytes = [0; HEADER + QUESTION];
    bytes[0..4].copy_from_slice(&((HEADER + QUESTION) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER] = family;
    bytes[HEADER + 1] = TCP;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&LISTENING.to_ne_bytes());
    bytes
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

/// Takes the next message off; `None` at the end.
fn next<'a>(rest: &mut &'a [u8]) -> io::Result<Option<Message<'a>>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a netlink message is malformed");
    let length = number(rest, 0).ok_or_else(malformed)? as usize;
    let header = rest.get(..HEADER).ok_or_else(malformed)?;
    let body = rest.get(HEADER..length).ok_or_else(malformed)?;
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    // Each begins at a multiple of four.
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok(Some(Message {
        kind: half(4),
        flags: half(6),
        body,
    }))
}

fn error(body: &[u8]) -> io::Error {
    let number = number(body, 0).map_or(0, |number| number as i32);
    io::Error::from_raw_os_error(number.saturating_neg())
}

fn socket_of(body: &[u8]) -> Option<ListeningSocket> {
    let body = body.get(..ANSWER)?;
    let port = u16::from_be_bytes([body[4], body[5]]);
    let ip: IpAddr = match body[0] {
        INET => Ipv4Addr::from(<[u8; 4]>::try_from(&body[8..12]).ok()?).into(),
        INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(&body[8..24]).ok()?).into(),
        _ => return None,
    };
    Some(ListeningSocket {
        address: SocketAddr::new(ip, port),
        inode: number(body, 68)?.into(),
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_kernel_names_a_listener_as_proc_does() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("a port is free");
            let address = listener.local_addr().expect("it has an address");
            let asked = of_process(std::process::id()).expect("the kernel answers");
            let read = crate::sockets::read(std::process::id()).expect("there is a table");
            let own = |all: &[ListeningSocket]| all.iter().find(|socket| socket.address == address).copied();
            assert!(own(&asked).is_some(), "{address} is missing from {asked:?}");
            assert_eq!(own(&asked), own(&read));
        }
    }

    #[test]
    fn connections_are_not_among_them() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let stream = std::net::TcpStream::connect(address).expect("it listens");
        let own = stream.local_addr().expect("it has an address");
        let all = of_process(std::process::id()).expect("the kernel answers");
        assert!(all.iter().all(|socket| socket.address != own));
    }
}
