//! A running instance, as dispatching and the handlers see it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;
use skep_model::InstanceId;
use tokio::net::TcpStream;

/// How an instance's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; 128 + signal where a signal ended it, as Docker counts.
    pub code: i64,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
}

/// A socket that an instance listens on, for telling people why theirs can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The address and port as the instance bound them.
    pub address: SocketAddr,
}

/// One started instance.
///
/// Dropping the last handle does not end it: whoever launched it calls [`Instance::remove`]. Every method may be
/// called at any time and any number of times, also after the instance ended.
pub trait Instance: Send + Sync + fmt::Debug + 'static {
    /// Its id.
    fn id(&self) -> InstanceId;

    /// What an operator looks for on the node: a container's short id, or a process id.
    fn locator(&self) -> String;

    /// The port on which an `http` instance is expected to listen.
    fn port(&self) -> u16;

    /// The addresses from which its own connections come, as others see them.
    fn addresses(&self) -> Vec<IpAddr>;

    /// Connects to its port. The socket that answers belongs to this instance, not to whoever has its address later.
    ///
    /// # Errors
    /// `ConnectionRefused` while nothing listens; anything else the kernel answers.
    fn connect(&self) -> BoxFuture<'_, io::Result<TcpStream>>;

    /// Which TCP sockets its own processes listen on, as far as can be seen from here.
    fn listeners(&self) -> BoxFuture<'_, Vec<Listener>>;

    /// Waits for its end.
    fn exited(&self) -> BoxFuture<'_, Exit>;

    /// Its exit, if it ended.
    fn try_exited(&self) -> Option<Exit>;

    /// Stops its processes from running until [`Instance::thaw`], keeping their memory.
    ///
    /// # Errors
    /// What the engine said.
    fn freeze(&self) -> BoxFuture<'_, io::Result<()>>;

    /// Lets frozen processes run again.
    ///
    /// # Errors
    /// What the engine said.
    fn thaw(&self) -> BoxFuture<'_, io::Result<()>>;

    /// Sends the template's stop signal, waits for the template's grace (10 s by default), then kills.
    fn stop(&self) -> BoxFuture<'_, ()>;

    /// Kills it at once if it still runs, and removes everything it had. Returns when nothing of it is left, or
    /// when the engine can't be reached (the engine's sweep then finds it later).
    fn remove(&self) -> BoxFuture<'_, ()>;
}
