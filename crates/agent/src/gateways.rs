//! The gateways that can be reached from here: found by their names, a connection to each kept up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use skep_model::Revision;
use skep_tls::{Dialer, Identity, IdentityError, Line, Members};
use skep_wire::GATEWAY_NAME;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a connection still stands.
const CHECK: Duration = Duration::from_millis(500);
/// So long a call waits where there is no gateway: one that is replaced is back within seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every gateway. A clone is the same.
#[derive(Clone)]
pub struct Gateways(Arc<Inner>);

struct Inner {
    dialer: Dialer,
    /// Host names or addresses, each with its port.
    names: Vec<String>,
    lines: Mutex<BTreeMap<SocketAddr, Line>>,
    /// Told when one was reached.
    reached: Notify,
    /// Whose turn it is.
    turn: AtomicUsize,
}

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateways")
    }
}

impl Gateways {
    /// Those with these names, as this agent. [`Gateways::find`] is to be run.
    ///
    /// # Errors
    /// The identity can't be used.
    pub fn new(identity: &Identity, names: Vec<String>) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(Inner {
            dialer: Dialer::new(identity, GATEWAY_NAME)?,
            names,
            lines: Mutex::default(),
            reached: Notify::new(),
            turn: AtomicUsize::new(0),
        })))
    }

    /// Looks for gateways until `stop`.
    pub async fn find(&self, stop: CancellationToken) {
        skep_tls::follow(self.clone(), &self.0.names, stop).await;
    }

    /// All that can be reached, in the order in which they are to be tried: each call begins with another. Where there is
    /// none it waits a while.
    pub(crate) async fn reachable(&self) -> Vec<(SocketAddr, Line)> {
        let waiting = async {
            loop {
                let mut reached = std::pin::pin!(self.0.reached.notified());
                reached.as_mut().enable();
                let now = self.now();
                if !now.is_empty() {
                    return now;
                }
                reached.await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_default()
    }

    /// The same for all that concerns one thing, as every agent finds it: rendezvous hashing over the addresses.
    pub(crate) async fn in_order_for(&self, thing: &str) -> Vec<Line> {
        let all = in_order(self.reachable().await, thing);
        all.into_iter().map(|(_, line)| line).collect()
    }

    /// The same, of those that can be reached just now.
    pub(crate) fn known_for(&self, thing: &str) -> Vec<(SocketAddr, Line)> {
        in_order(self.now(), thing)
    }

    fn now(&self) -> Vec<(SocketAddr, Line)> {
        let lines = self.lines();
        let living = lines.iter().filter(|(_, line)| !line.is_closed());
        let mut living: Vec<_> = living.map(|(address, line)| (*address, line.clone())).collect();
        if !living.is_empty() {
            let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
            let first = turn % living.len();
            living.rotate_left(first);
        }
        living
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Line>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members for Gateways {
    const WHAT: &'static str = "gateways";

    fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    async fn attend(&self, address: SocketAddr, line: Line) -> bool {
        self.lines().insert(address, line.clone());
        self.0.reached.notify_waiters();
        while !line.is_closed() {
            sleep(CHECK).await;
        }
        self.lines().remove(&address);
        tracing::info!(%address, "a gateway is gone");
        true
    }

    fn is_connected(&self, address: SocketAddr) -> bool {
        self.lines().contains_key(&address)
    }
}

fn in_order(mut gateways: Vec<(SocketAddr, Line)>, thing: &str) -> Vec<(SocketAddr, Line)> {
    gateways.sort_by_cached_key(|(address, _)| {
        let digest = Revision::of(format!("{thing} {address}").as_bytes());
        std::cmp::Reverse(digest.to_string())
    });
    gateways
}

/// What a gateway answers there as JSON, in no more than `longest` bytes.
pub(crate) async fn answered<T: DeserializeOwned>(
    line: &Line,
    path: &str,
    longest: usize,
) -> Result<T, String> {
    let request = Request::get(format!("https://{GATEWAY_NAME}{path}"))
        .body(skep_tls::body(skep_invoke::empty()))
        .map_err(|error| error.to_string())?;
    let response = line.send(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let body = Limited::new(response.into_body(), longest).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
