//! Listeners: connections come in, bounded in number, and go out with a drain.

use std::net::SocketAddr;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use skep_model::{Problem, ProblemCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::{Door, Gateway};
use crate::room::{Room, Seat};
use crate::window::Windows;
use crate::{refusal, server};

/// After an error such as too many open files there is nothing to do but wait for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener that is being served. Dropping it ends every connection at once.
#[derive(Debug)]
pub struct Serving {
    address: Option<SocketAddr>,
    drain: CancellationToken,
    tasks: TaskTracker,
    /// Cancelled when nothing is accepted any more, for whatever reason.
    stopped: CancellationToken,
    /// Ends what is left.
    end: tokio_util::sync::DropGuard,
}

impl Serving {
    /// Where it listens, if it does so itself.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns when nothing is accepted any more: before a drain that is a fault, of which somebody should speak.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }

    /// Accepts no more. Requests under way are answered to their end; returns when the last connection is closed.
    /// Upgraded connections go on by themselves (see [`skep_invoke::Invoker::drained`]).
    pub async fn drain(&self) {
        self.drain.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends every connection at once.
    pub async fn end(self) {
        let Self {
            drain, tasks, end, ..
        } = self;
        drain.cancel();
        tasks.close();
        drop(end);
        tasks.wait().await;
    }
}

/// One listener's connections.
#[derive(Clone)]
struct Connections {
    gateway: Gateway,
    door: Door,
    room: Room,
    open: Gauge,
    drain: CancellationToken,
    end: CancellationToken,
    tasks: TaskTracker,
    stopped: CancellationToken,
}

impl Connections {
    fn new(gateway: Gateway, door: Door) -> Self {
        let room = Room::new(door, gateway.config().max_connections);
        let open = gateway.metrics().connections(door.as_str());
        Self {
            gateway,
            door,
            room,
            open,
            drain: CancellationToken::new(),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
            stopped: CancellationToken::new(),
        }
    }

    fn serving(&self, address: Option<SocketAddr>) -> Serving {
        let (drain, tasks) = (self.drain.clone(), self.tasks.clone());
        Serving {
            address,
            drain,
            tasks,
            stopped: self.stopped.clone(),
            end: self.end.clone().drop_guard(),
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(seat) = self.room.take(peer.ip()) else {
            self.gateway.metrics().refused(self.door.as_str());
            let problem = Problem::new(ProblemCode::NodeFull).retry_after(1);
            // The socket's buffer is empty: it takes this at once, or nobody is there.
            let _ = stream.try_write(&refusal::bytes(&problem));
            return;
        };
        let connection = self.clone();
        let Some(place) = self.gateway.workers().place() else {
            self.tasks.spawn(connection.run(stream, peer, seat));
            return;
        };
        let runtime = place.runtime.clone();
        let moved = async move {
            let _place = place;
            match here(stream) {
                Ok(stream) => connection.run(stream, peer, seat).await,
                Err(error) => tracing::warn!(%error, "a connection can't be served"),
            }
        };
        self.tasks.spawn_on(moved, &runtime);
    }

    async fn run(self, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        let windows = Windows::beside(usize::try_from(self.open.inc()).unwrap_or_default());
        let (gateway, door) = (self.gateway, self.door);
        let served = server::serve(gateway, door, stream, peer, windows, self.drain, self.tasks);
        tokio::select! {
            () = served => {}
            () = self.end.cancelled() => {}
        }
        self.open.dec();
        drop(seat);
    }
}

/// The stream, watched by the runtime that this runs on.
fn here(stream: TcpStream) -> std::io::Result<TcpStream> {
    TcpStream::from_std(stream.into_std()?)
}

/// Serves the public listener.
pub(crate) fn serve_listener(
    gateway: Gateway,
    listener: TcpListener,
    known: impl Future<Output = ()> + Send + 'static,
) -> Serving {
    let connections = Connections::new(gateway, Door::Public);
    let serving = connections.serving(listener.local_addr().ok());
    let tasks = connections.tasks.clone();
    let stopped = connections.stopped.clone().drop_guard();
    tasks.spawn(async move {
        let _stopped = stopped;
        tokio::select! {
            () = known => {}
            () = connections.drain.cancelled() => return,
            () = connections.end.cancelled() => return,
        }
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = connections.drain.cancelled() => return,
                () = connections.end.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => connections.take(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    serving
}

/// Serves connections that others accepted.
pub(crate) fn serve_streams(
    gateway: Gateway,
    mut streams: mpsc::Receiver<(TcpStream, SocketAddr)>,
) -> Serving {
    let connections = Connections::new(gateway, Door::Call);
    let serving = connections.serving(None);
    let tasks = connections.tasks.clone();
    let stopped = connections.stopped.clone().drop_guard();
    tasks.spawn(async move {
        let _stopped = stopped;
        loop {
            tokio::select! {
                accepted = streams.recv() => match accepted {
                    Some((stream, peer)) => connections.take(stream, peer),
                    None => return,
                },
                () = connections.drain.cancelled() => return,
                () = connections.end.cancelled() => return,
            }
        }
    });
    serving
}
