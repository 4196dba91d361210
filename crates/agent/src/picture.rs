//! What gateways are told of this node: one line for all of them, made anew when something changed.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use http_body::Frame;
use skep_socket::Sockets;
use skep_wire::NodePicture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::budget::written;
use crate::table::Table;
use crate::waiters::Waiters;

/// There are never more pictures than one in this time,
const SPACING: Duration = Duration::from_millis(50);
/// never fewer,
const HEARTBEAT: Duration = Duration::from_secs(2);
/// and what instances do by themselves (they become ready, or end) is looked at as often as this.
const LOOK: Duration = Duration::from_millis(250);

/// The node itself.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) node: String,
    pub(crate) hostname: String,
    pub(crate) engine: String,
    pub(crate) fallback: Vec<String>,
}

/// The newest picture, for any number of gateways. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Pictures {
    newest: watch::Sender<Bytes>,
    /// What it shows beside the node itself.
    pub(crate) waiters: Waiters,
}

impl Pictures {
    pub(crate) fn new() -> Self {
        Self {
            newest: watch::Sender::new(Bytes::new()),
            waiters: Waiters::default(),
        }
    }

    /// Draws until `stop`.
    pub(crate) async fn draw(&self, about: About, table: Table, sockets: Sockets, stop: CancellationToken) {
        let mut last = Bytes::new();
        let mut sent = Instant::now();
        loop {
            let drawn = line(&about, &table, &self.waiters, &sockets);
            if drawn != last || sent.elapsed() >= HEARTBEAT {
                last = drawn.clone();
                sent = Instant::now();
                self.newest.send_replace(drawn);
            }
            let (next, look) = (Instant::now() + SPACING, Instant::now() + LOOK);
            tokio::select! {
                () = stop.cancelled() => return,
                // Nothing heard by then is as good: it is looked anyway.
                _ = timeout_at(look, table.changed.notified()) => {}
            }
            sleep_until(next).await;
        }
    }

    /// Every picture from now on, the newest one at once. Whoever reads slowly misses the ones between.
    pub(crate) fn follow(
        &self,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + use<> {
        let mut newest = self.newest.subscribe();
        newest.mark_changed();
        stream::unfold((newest, stop), |(mut newest, stop)| async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return None,
                    changed = newest.changed() => changed.ok()?,
                }
                let line = newest.borrow_and_update().clone();
                if !line.is_empty() {
                    return Some((Ok(Frame::data(line)), (newest, stop)));
                }
            }
        })
    }
}

fn line(about: &About, table: &Table, waiters: &Waiters, sockets: &Sockets) -> Bytes {
    let children = sockets.usage_of_all();
    let picture = NodePicture {
        node: about.node.clone(),
        hostname: about.hostname.clone(),
        engine: about.engine.clone(),
        fallback: about.fallback.clone(),
        sandboxes: table.all().iter().map(|sandbox| sandbox.picture()).collect(),
        waiting: waiters.all(),
        children: written(children),
    };
    let mut line = serde_json::to_vec(&picture).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
