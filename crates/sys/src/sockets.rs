//! What `/proc` says of TCP sockets: which ones listen in a process's network namespace, and whose they are.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A listening TCP socket, as `/proc/PID/net/tcp` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListeningSocket {
    /// The address it is bound to.
    pub address: SocketAddr,
    /// The socket's inode, by which its holders are found.
    pub inode: u64,
}

/// Every TCP socket that listens in the network namespace of a process.
///
/// # Errors
/// `NotFound` where no such process runs.
pub fn listening_sockets(process: u32) -> io::Result<Vec<ListeningSocket>> {
    // A kernel may be without the questions, a namespace may not be ours to enter: then its table is read.
    crate::listening::of_process(process).or_else(|_| read(process))
}

/// The same from `/proc/PID/net/tcp` and `tcp6`.
pub(crate) fn read(process: u32) -> io::Result<Vec<ListeningSocket>> {
    let mut found = parse(&fs::read_to_string(format!("/proc/{process}/net/tcp"))?);
    // A kernel without IPv6 has no such file.
    if let Ok(six) = fs::read_to_string(format!("/proc/{process}/net/tcp6")) {
        found.extend(parse(&six));
    }
    Ok(found)
}

fn parse(table: &str) -> Vec<ListeningSocket> {
    table.lines().skip(1).filter_map(line).collect()
}

fn line(text: &str) -> Option<ListeningSocket> {
    const LISTEN: &str = "0A";
    let mut fields = text.split_ascii_whitespace().skip(1);
    let local = fields.next()?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(ListeningSocket {
        address: SocketAddr::new(ip(address)?, port),
        inode,
    })
}

/// Addresses are printed as 32-bit words in the machine's own byte order.
fn ip(hexadecimal: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for start in (0..hexadecimal.len()).step_by(8) {
        let word = u32::from_str_radix(hexadecimal.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// The inodes of the sockets that a process holds open.
///
/// # Errors
/// `NotFound` where no such process runs, `PermissionDenied` where it is not ours to look at.
pub fn socket_inodes(process: u32) -> io::Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else {
            continue;
        };
        let name = target.to_string_lossy();
        let inode = name
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_our_own_is_found_with_its_inode() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let all = listening_sockets(std::process::id()).unwrap();
        let found = all
            .iter()
            .find(|socket| socket.address == address)
            .expect("our listener is listed");
        assert!(socket_inodes(std::process::id()).unwrap().contains(&found.inode));
    }

    #[test]
    fn a_listener_on_ipv6_is_read() {
        let table = "  sl  local_address rem_address st\n   0: 00000000000000000000000001000000:1F90 \
                     00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 0";
        let expected = ListeningSocket {
            address: "[::1]:8080".parse().unwrap(),
            inode: 4711,
        };
        assert_eq!(parse(table), vec![expected]);
    }
}
