//! A process of our own making as an instance.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use skep_docker::{FirstProcess, HeldPort, Way};
use skep_engine::{Exit, Instance, Listener};
use skep_model::InstanceId;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::cgroups::Freezer;
use crate::held::Place;

/// SIGKILL.
pub(crate) const KILL: i32 = 9;

/// One started instance.
pub(crate) struct LeanInstance {
    pub(crate) id: InstanceId,
    pub(crate) port: u16,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) way: Way,
    pub(crate) process: Option<FirstProcess>,
    pub(crate) process_id: u32,
    pub(crate) descriptor: OwnedFd,
    /// The number of the signal that asks it to end, and how long it then has.
    pub(crate) stop: (i32, Duration),
    pub(crate) freezer: Freezer,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    /// What keeps its standard input open, where that is wanted.
    pub(crate) _input: Option<OwnedFd>,
    /// What keeps its port from others in the same sandbox.
    pub(crate) _held: Option<HeldPort>,
    /// Its place in a sandbox, given back when nothing holds the instance any more.
    pub(crate) place: Place,
}

impl fmt::Debug for LeanInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeanInstance({}, {})", self.id, self.locator())
    }
}

impl LeanInstance {
    fn signal(&self, signal: i32) {
        // One that has ended needs no signal; anything else can't happen to a child of our own.
        let _ended = skep_sys::send_signal(self.descriptor.as_fd(), signal);
    }

    async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.map(|exit| *exit);
        // Without the spawner nobody can say how it ended, only that it did: its children go with it.
        ended.ok().flatten().unwrap_or(Exit {
            code: 137,
            out_of_memory: false,
        })
    }
}

impl Instance for LeanInstance {
    fn id(&self) -> InstanceId {
        self.id
    }

    fn locator(&self) -> String {
        format!("pid {}", self.process_id)
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.clone()
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.way.connect(self.port, self.process.as_ref()).boxed()
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
        self.wait().boxed()
    }

    fn try_exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    fn freeze(&self) -> BoxFuture<'_, io::Result<()>> {
        async { self.freezer.set(true) }.boxed()
    }

    fn thaw(&self) -> BoxFuture<'_, io::Result<()>> {
        async { self.freezer.set(false) }.boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        async {
            self.signal(self.stop.0);
            if tokio::time::timeout(self.stop.1, self.wait()).await.is_err() {
                self.signal(KILL);
                self.wait().await;
            }
        }
        .boxed()
    }

    fn remove(&self) -> BoxFuture<'_, ()> {
        async {
            if self.try_exited().is_none() {
                self.signal(KILL);
                // A frozen process takes its signal when it is let go.
                let _gone = self.freezer.set(false);
            }
            self.wait().await;
        }
        .boxed()
    }
}
