//! The way to one instance's port.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use skep_sys::{NetworkNamespace, ProcessIdentity};
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

    /// Whether a process is one of the container's: the cgroup that the engine made bears the container's id.
    fn belongs(&self, id: u32) -> bool {
        fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|groups| groups.contains(&self.container))
    }

    /// The TCP sockets that the container's processes listen on. Others may listen in their network namespace: whoever
    /// shares it, Docker's name server, Skep itself.
    ///
    /// # Errors
    /// When the processes can't be looked at.
    pub async fn listeners(&self) -> io::Result<Vec<SocketAddr>> {
        let process = self.clone();
        tokio::task::spawn_blocking(move || process.own_listeners(|_| true))
            .await
            .map_err(io::Error::other)?
    }

    /// Blocks: it may look at every process of the machine.
    fn own_listeners(&self, wanted: impl Fn(&SocketAddr) -> bool) -> io::Result<Vec<SocketAddr>> {
        let Some(first) = self.id() else {
            return Ok(Vec::new());
        };
        let mut sockets = skep_sys::listening_sockets(first)?;
        sockets.retain(|socket| wanted(&socket.address));
        if sockets.is_empty() {
            return Ok(Vec::new());
        }
        let processes = fs::read_dir("/proc")?.flatten();
        let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // A process that ended while we look holds nothing any more.
        let held: HashSet<u64> = processes
            .filter(|process| self.belongs(*process))
            .filter_map(|process| skep_sys::socket_inodes(process).ok())
            .flatten()
            .collect();
        sockets.retain(|socket| held.contains(&socket.inode));
        Ok(sockets.into_iter().map(|socket| socket.address).collect())
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
                let stream = namespace.connect(SocketAddr::new(*address, port)).await?;
                if *foreign && !owns(process, port).await? {
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

async fn owns(process: Option<&FirstProcess>, port: u16) -> io::Result<bool> {
    let Some(process) = process.cloned() else {
        return Ok(false);
    };
    let look = move || process.own_listeners(|address| address.port() == port);
    let own = tokio::task::spawn_blocking(look)
        .await
        .map_err(io::Error::other)?;
    Ok(!own?.is_empty())
}
