//! Discovery's metric families.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// What is counted; a clone counts into the same.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) connected: Gauge,
    pub(crate) events: Counter,
    pub(crate) reconnections: Counter,
    pub(crate) relist: Histogram,
    pub(crate) reads: Counter,
    pub(crate) failed_reads: Counter,
    pub(crate) put_back: Counter,
    pub(crate) put_back_failed: Counter,
    pub(crate) last_event: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connected: Gauge::default(),
            events: Counter::default(),
            reconnections: Counter::default(),
            relist: Histogram::new([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]),
            reads: Counter::default(),
            failed_reads: Counter::default(),
            put_back: Counter::default(),
            put_back_failed: Counter::default(),
            last_event: Gauge::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "skep_discovery_connected",
            "1 while the engine's events arrive and it answers, else 0",
            self.connected.clone(),
        );
        registry.register("skep_discovery_events", "Engine events read", self.events.clone());
        registry.register(
            "skep_discovery_reconnections",
            "Times the connection to the engine's events was lost",
            self.reconnections.clone(),
        );
        registry.register_with_unit(
            "skep_discovery_relist",
            "How long a full list of the templates took",
            Unit::Seconds,
            self.relist.clone(),
        );
        registry.register("skep_discovery_reads", "Containers inspected", self.reads.clone());
        registry.register(
            "skep_discovery_failed_reads",
            "Containers that could not be inspected, to be tried again",
            self.failed_reads.clone(),
        );
        registry.register(
            "skep_discovery_put_back",
            "Templates put back after a prune deleted them",
            self.put_back.clone(),
        );
        registry.register(
            "skep_discovery_put_back_failed",
            "Templates that a prune deleted and that could not be put back",
            self.put_back_failed.clone(),
        );
        registry.register_with_unit(
            "skep_discovery_last_event_timestamp",
            "When the last event happened, by the engine's clock, since the Unix epoch",
            Unit::Seconds,
            self.last_event.clone(),
        );
    }
}
