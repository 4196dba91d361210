//! What the queue counts about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) ready: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) ended: Counter,
    pub(crate) retried: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "skep_queue_ready",
            "Whether the Swarm's queue (NATS) was reached and followed: without it nothing asynchronous is accepted",
            self.ready.clone(),
        );
        registry.register(
            "skep_queue_accepted",
            "Asynchronous invocations that this gateway accepted into the Swarm's queue",
            self.accepted.clone(),
        );
        registry.register(
            "skep_queue_ended",
            "Asynchronous invocations whose end this gateway stored in the Swarm's queue",
            self.ended.clone(),
        );
        registry.register(
            "skep_queue_retried",
            "Writes to the Swarm's queue that were tried again: a server was away, or another took over",
            self.retried.clone(),
        );
    }
}
