//! What all parts of a gateway's cluster side share: the pool behind its lock, and the connections to agents.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_invoke::Metrics;
use skep_model::{Function, FunctionName, Journal, Namespace};
use skep_tls::{Dialer, Line};
use skep_wire::{NodePicture, NotStarted};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::metrics::Scaling;
use crate::pool::{Arrival, NodeKey, Placement, Pool};

pub(crate) struct Shared {
    namespace: Namespace,
    /// This gateway's own name.
    gateway: String,
    dialer: Dialer,
    pool: Mutex<Pool>,
    lines: Mutex<HashMap<NodeKey, (SocketAddr, Line)>>,
    next: AtomicU64,
    /// Somebody waits for a function that has no sandbox.
    pub(crate) wanted: Notify,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) metrics: Metrics,
    pub(crate) scaling: Scaling,
    /// What outlives the call that began it: upgraded connections.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn new(
        namespace: Namespace,
        gateway: String,
        dialer: Dialer,
        journal: Arc<dyn Journal>,
        metrics: Metrics,
    ) -> Self {
        Self {
            namespace,
            gateway,
            dialer,
            pool: Mutex::default(),
            lines: Mutex::default(),
            next: AtomicU64::new(0),
            wanted: Notify::new(),
            journal,
            metrics,
            scaling: Scaling::default(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Why a function can't be run on any of the nodes that have a sandbox for it; empty where it can.
    pub(crate) fn unusable(&self, function: &Function) -> Vec<String> {
        self.pool()
            .unusable(function.name.as_str(), self.namespace.as_str())
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<NodeKey, (SocketAddr, Line)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_line(&self, address: SocketAddr, line: Line) -> NodeKey {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.lines().insert(key, (address, line));
        key
    }

    pub(crate) fn remove_line(&self, key: NodeKey) {
        self.lines().remove(&key);
        self.pool().lost(key);
        self.wanted.notify_one();
    }

    pub(crate) fn line(&self, key: NodeKey) -> Option<(SocketAddr, Line)> {
        self.lines().get(&key).cloned()
    }

    pub(crate) fn all_lines(&self) -> Vec<(NodeKey, Line)> {
        self.lines()
            .iter()
            .map(|(key, (_, line))| (*key, line.clone()))
            .collect()
    }

    pub(crate) fn has_line_to(&self, address: SocketAddr) -> bool {
        self.lines()
            .values()
            .any(|(other, line)| *other == address && !line.is_closed())
    }

    pub(crate) fn picture(&self, key: NodeKey, picture: NodePicture) {
        self.pool().picture(key, picture, self.namespace.as_str());
        self.wanted.notify_one();
    }

    pub(crate) fn arrive(&self, function: &Function, background: bool) -> Arrival {
        let arrival = self.pool().arrive(function, background);
        self.tell(&arrival);
        arrival
    }

    pub(crate) fn again(&self, name: &FunctionName, background: bool) -> Arrival {
        let arrival = self.pool().again(name, background);
        self.tell(&arrival);
        arrival
    }

    fn tell(&self, arrival: &Arrival) {
        if matches!(arrival, Arrival::Waits { cold: true, .. }) {
            self.wanted.notify_one();
        }
    }
}

/// An invocation's place in a sandbox, given back when it is dropped.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    name: FunctionName,
    pub(crate) placement: Placement,
}

impl Ticket {
    pub(crate) fn new(shared: Arc<Shared>, name: FunctionName, placement: Placement) -> Self {
        Self {
            shared,
            name,
            placement,
        }
    }

    /// The sandbox did not begin it.
    pub(crate) fn refused(self, reason: Option<NotStarted>) {
        self.shared.pool().refused(&self.name, &self.placement, reason);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.pool().finished(&self.name, &self.placement);
    }
}
