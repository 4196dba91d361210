//! The way to one instance's port.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use skep_engine::Listener;
use skep_sys::{ListeningSocket, NetworkNamespace, ProcessEnd, ProcessIdentity};
use tokio::net::TcpStream;

/// How one instance is connected to.
#[derive(Debug)]
pub enum Way {
    /// From inside its network namespace, which is held open: whatever answers there is in that namespace.
    Namespace {
        /// The open namespace.
        namespace: NetworkNamespace,
        /// Where in it.
        address: IpAddr,
        /// The instance shares the namespace with strangers: who holds the listening socket must be looked at.
        foreign: bool,
    },
    /// Over a network that Skep's own container is attached to.
    Network(IpAddr),
    /// There is none; a sentence that says why.
    Closed(String),
}

/// The first process of a container, as far as it can be seen from here.
#[derive(Debug, Clone)]
pub struct FirstProcess {
    identity: ProcessIdentity,
    container: String,
}

impl FirstProcess {
    /// The process with this id, where it really belongs to the container: an id may have been given out again.
    pub fn of(id: u32, container: &str) -> Option<Self> {
        let identity = ProcessIdentity::of(id)?;
        let found = Self {
            identity,
            container: container.to_owned(),
        };
        found.belongs(id).then_some(found)
    }

    /// Its id, while it still is that process.
    pub fn id(&self) -> Option<u32> {
        self.identity.runs().then_some(self.identity.id)
    }

    /// Its end, to be awaited.
    ///
    /// # Errors
    /// `NotFound` where it has ended already, or what the kernel says.
    pub fn end(&self) -> io::Result<ProcessEnd> {
        ProcessEnd::of(&self.identity)
    }

    /// Whether a process is one of the container's: the cgroup that the engine made bears the container's id.
    fn belongs(&self, id: u32) -> bool {
        fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|groups| groups.contains(&self.container))
    }

    /// The TCP sockets that the container's processes listen on, as far as can be seen. Others may listen in their
    /// network namespace: whoever shares it, Docker's name server, Skep itself.
    pub async fn listeners(&self) -> Vec<Listener> {
        let process = self.clone();
        let looked = tokio::task::spawn_blocking(move || process.listening(|_| true)).await;
        let (own, _) = looked.ok().and_then(Result::ok).unwrap_or_default();
        own.into_iter().map(|address| Listener { address }).collect()
    }

    /// The sockets that listen in its network namespace: the container's own, and those of others. It blocks: it may
    /// look at every process of the machine.
    fn listening(
        &self,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> io::Result<(Vec<SocketAddr>, Vec<SocketAddr>)> {
        let Some(first) = self.id() else {
            return Ok((Vec::new(), Vec::new()));
        };
        let mut sockets = skep_sys::listening_sockets(first)?;
        sockets.retain(|socket| wanted(&socket.address));
        // Mostly it is the first process that listens. One that ended while we look holds nothing any more.
        let mut held = skep_sys::socket_inodes(first).unwrap_or_default();
        if !sockets.iter().all(|socket| held.contains(&socket.inode)) {
            let processes = fs::read_dir("/proc")?.flatten();
            let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            let own = processes.filter(|process| self.belongs(*process));
            held.extend(
                own.filter_map(|process| skep_sys::socket_inodes(process).ok())
                    .flatten(),
            );
        }
        let addresses =
            |sockets: Vec<ListeningSocket>| sockets.into_iter().map(|socket| socket.address).collect();
        let (own, others) = sockets
            .into_iter()
            .partition(|socket| held.contains(&socket.inode));
        Ok((addresses(own), addresses(others)))
    }
}

impl Way {
    /// Connects to a port. `process` is needed where the namespace is shared with strangers.
    ///
    /// # Errors
    /// `ConnectionRefused` while nothing listens, or another process does; else what the kernel answers.
    pub async fn connect(&self, port: u16, process: Option<&FirstProcess>) -> io::Result<TcpStream> {
        match self {
            Self::Namespace {
                namespace,
                address,
                foreign,
            } => {
                let address = SocketAddr::new(*address, port);
                let stream = namespace.connect(address).await?;
                if *foreign && !owns(process, address).await? {
                    let message = format!("a socket of another process answers on port {port}");
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, message));
                }
                Ok(stream)
            }
            Self::Network(address) => TcpStream::connect((*address, port)).await,
            Self::Closed(reason) => Err(io::Error::new(io::ErrorKind::Unsupported, reason.clone())),
        }
    }
}

/// Whether nobody else could have answered at an address: several may listen on one port, each on an address of its
/// own, or side by side (SO_REUSEPORT), when the kernel gives a connection to any of them.
async fn owns(process: Option<&FirstProcess>, address: SocketAddr) -> io::Result<bool> {
    let Some(process) = process.cloned() else {
        return Ok(false);
    };
    let look = move || process.listening(|listening| answers(*listening, address));
    let (own, others) = tokio::task::spawn_blocking(look)
        .await
        .map_err(io::Error::other)??;
    Ok(!own.is_empty() && others.is_empty())
}

/// Whether a socket that listens there may answer a connection to an address. One for every address of version 6
/// mostly is for those of version 4 too.
fn answers(listening: SocketAddr, address: SocketAddr) -> bool {
    let ip = listening.ip().to_canonical();
    listening.port() == address.port() && (ip.is_unspecified() || ip == address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_answers_at_its_own_address_or_at_all() {
        let asked: SocketAddr = "172.18.0.2:8080".parse().unwrap();
        let cases = [
            ("0.0.0.0:8080", true),
            ("[::]:8080", true),
            ("172.18.0.2:8080", true),
            ("[::ffff:172.18.0.2]:8080", true),
            ("127.0.0.1:8080", false),
            ("[::1]:8080", false),
            ("0.0.0.0:8081", false),
        ];
        for (listening, expected) in cases {
            assert_eq!(
                answers(listening.parse().unwrap(), asked),
                expected,
                "{listening}"
            );
        }
    }
}
