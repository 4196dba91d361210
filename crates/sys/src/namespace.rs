//! Network namespaces: holding one open, and making sockets in it.
//!
//! A socket belongs for life to the namespace it was made in, so only its making needs a thread inside. That thread
//! is a single one of our own (27 µs for a socket with its connect): a thread of the runtime is never moved, since
//! everything else that it runs would move with it.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, OnceLock, mpsc};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::LinkNameSpaceType;
use tokio::sync::oneshot;

/// An open network namespace. While this is held, the namespace stays, and means the same one.
#[derive(Debug, Clone)]
pub struct NetworkNamespace {
    file: Arc<File>,
}

struct Order {
    file: Arc<File>,
    family: AddressFamily,
    answer: oneshot::Sender<io::Result<OwnedFd>>,
}

impl NetworkNamespace {
    /// Opens the network namespace of a running process.
    ///
    /// # Errors
    /// `NotFound` where no such process runs, `PermissionDenied` without the right to trace it.
    pub fn of_process(process: u32) -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(File::open(format!("/proc/{process}/ns/net"))?),
        })
    }

    /// Opens the namespace that this thread is in.
    ///
    /// # Errors
    /// What the kernel says where `/proc` isn't mounted.
    pub fn own() -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(File::open("/proc/thread-self/ns/net")?),
        })
    }

    /// Makes one, with nothing in it but a loopback that is up. It waits for the kernel, some half a millisecond.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_SYS_ADMIN`.
    pub fn fresh() -> io::Result<Self> {
        std::thread::scope(|scope| {
            let maker = std::thread::Builder::new().name("skep-network".to_owned());
            let made = maker.spawn_scoped(scope, || {
                crate::fork::unshare_network_namespace()?;
                crate::fork::raise_loopback()?;
                Self::own()
            })?;
            made.join()
                .map_err(|_| io::Error::other("the making of a network namespace panicked"))?
        })
    }

    /// Whether it is the same as another.
    pub fn is(&self, other: &Self) -> bool {
        let identity = |namespace: &Self| {
            let metadata = namespace.file.metadata().ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        identity(self) == identity(other)
    }

    /// The namespace as a descriptor of its own, to be handed to another process.
    ///
    /// # Errors
    /// What the kernel says where this process has too many open.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Makes a non-blocking TCP socket of the address's family in this namespace.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_SYS_ADMIN`.
    pub async fn tcp_socket(&self, address: IpAddr) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let (answer, answered) = oneshot::channel();
        let order = Order {
            file: self.file.clone(),
            family,
            answer,
        };
        let gone = || io::Error::other("the thread that enters network namespaces has ended");
        worker()?.send(order).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Connects to an address as a process inside the namespace would.
    ///
    /// # Errors
    /// `ConnectionRefused` while nothing listens there; else what the kernel answers.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let socket = self.tcp_socket(address.ip()).await?;
        tokio::net::TcpSocket::from_std_stream(socket.into())
            .connect(address)
            .await
    }

    /// Listens on an address inside the namespace; port 0 takes any free one.
    ///
    /// # Errors
    /// What the kernel answers: the address isn't there, or the port is taken.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
        let socket = self.tcp_socket(address.ip()).await?;
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    }

    /// Whether a program that asks for no more than the port could listen on it, on every address of version 4.
    ///
    /// # Errors
    /// What the kernel answers, other than that the port is in use.
    pub async fn is_free(&self, port: u16) -> io::Result<bool> {
        let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let socket = self.tcp_socket(any).await?;
        // Without SO_REUSEADDR: a connection of the port's last user that lingers is in the way of such a program too.
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        match socket.bind(SocketAddr::new(any, port)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The thread that enters namespaces, started by the first who needs it.
fn worker() -> io::Result<&'static mpsc::Sender<Order>> {
    static WORKER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    if let Some(worker) = WORKER.get() {
        return Ok(worker);
    }
    let (orders, inbox) = mpsc::channel();
    std::thread::Builder::new()
        .name("skep-netns".to_owned())
        .spawn(move || serve(&inbox))?;
    // Of two that were started at once, the one not kept ends with its sender.
    Ok(WORKER.get_or_init(|| orders))
}

fn serve(inbox: &mpsc::Receiver<Order>) {
    while let Ok(Order { file, family, answer }) = inbox.recv() {
        // Whoever asked may be gone; the socket then closes right here.
        drop(answer.send(make(&file, family)));
    }
}

fn make(file: &File, family: AddressFamily) -> io::Result<OwnedFd> {
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}
