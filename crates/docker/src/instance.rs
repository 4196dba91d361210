//! A Docker container as an instance.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use skep_engine::{Exit, Instance, Listener};
use skep_model::InstanceId;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use crate::ports::HeldPort;
use crate::removal;
use crate::shared::Shared;
use crate::way::{FirstProcess, Way};

/// One started container.
pub(crate) struct DockerInstance {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: InstanceId,
    pub(crate) container: String,
    pub(crate) port: u16,
    pub(crate) grace: Duration,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) way: Way,
    /// Its first process, where that can be seen.
    pub(crate) process: Option<FirstProcess>,
    /// Set by the task that waits for the container's end.
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    /// Keeps the listener inside it open, where it has one.
    pub(crate) _listening: Option<DropGuard>,
    /// Keeps its port from others, where it shares a network namespace with them.
    pub(crate) _held: Option<HeldPort>,
}

impl fmt::Debug for DockerInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DockerInstance({}, {})", self.id, self.locator())
    }
}

impl DockerInstance {
    /// Connects over a network, where an address may be given out again: that the container still runs with it after
    /// the connection was made proves that it was this container that answered. To an address that nobody has any
    /// more the kernel would go on trying for two minutes, so the instance's end ends the attempt.
    async fn connect_over_network(&self, address: IpAddr) -> io::Result<TcpStream> {
        let ended = || io::Error::new(io::ErrorKind::ConnectionRefused, "the instance has ended");
        let stream = tokio::select! {
            biased;
            _ = self.exited() => return Err(ended()),
            connected = TcpStream::connect((address, self.port)) => connected?,
        };
        let inspect = self.shared.api.inspect(&self.container).await?;
        let running = inspect
            .state
            .as_ref()
            .and_then(|state| state.running)
            .unwrap_or(false);
        let still = crate::addresses::of(&inspect)
            .iter()
            .any(|(_, own)| *own == address);
        if running && still {
            Ok(stream)
        } else {
            Err(ended())
        }
    }
}

impl Instance for DockerInstance {
    fn id(&self) -> InstanceId {
        self.id
    }

    fn locator(&self) -> String {
        self.container.get(..12).unwrap_or(&self.container).to_owned()
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.clone()
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<TcpStream>> {
        match &self.way {
            Way::Network(address) => self.connect_over_network(*address).boxed(),
            way => way.connect(self.port, self.process.as_ref()).boxed(),
        }
    }

    fn listeners(&self) -> BoxFuture<'_, Vec<Listener>> {
        async {
            match &self.process {
                Some(process) => process.listeners().await,
                None => Vec::new(),
            }
        }
        .boxed()
    }

    fn exited(&self) -> BoxFuture<'_, Exit> {
        let mut exit = self.exit.clone();
        async move {
            let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
            // The waiting task only goes without a word when the runtime itself shuts down.
            ended.unwrap_or(Exit {
                code: 137,
                out_of_memory: false,
            })
        }
        .boxed()
    }

    fn try_exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    fn freeze(&self) -> BoxFuture<'_, io::Result<()>> {
        self.shared
            .api
            .pause(&self.container)
            .map(|paused| paused.map_err(io::Error::from))
            .boxed()
    }

    fn thaw(&self) -> BoxFuture<'_, io::Result<()>> {
        self.shared
            .api
            .unpause(&self.container)
            .map(|thawed| thawed.map_err(io::Error::from))
            .boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        async {
            if let Err(error) = self.shared.api.stop(&self.container, self.grace).await
                && !error.is_not_found()
            {
                tracing::warn!(
                    container = self.locator(),
                    error = error.chain(),
                    "an instance could not be stopped"
                );
            }
        }
        .boxed()
    }

    fn remove(&self) -> BoxFuture<'_, ()> {
        removal::remove(self.shared.clone(), self.id, self.container.clone()).boxed()
    }
}
