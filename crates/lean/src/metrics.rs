//! What the engine counts.

use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::engine::Shared;
use crate::stock::Stock;

/// Counters of the lean engine. A clone counts into the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    launches: Counter,
    failed: Counter,
    prepared_used: Counter,
    launch: Histogram,
    sandbox: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            launches: Counter::default(),
            failed: Counter::default(),
            prepared_used: Counter::default(),
            // From 1 ms to 1 s.
            launch: Histogram::new(exponential_buckets(0.001, 2.0, 11)),
            // From 5 ms to 5 s.
            sandbox: Histogram::new(exponential_buckets(0.005, 2.0, 11)),
        }
    }
}

impl Metrics {
    pub(crate) fn launched(&self, time: Duration) {
        self.launches.inc();
        self.launch.observe(time.as_secs_f64());
    }

    pub(crate) fn launch_failed(&self) {
        self.failed.inc();
    }

    pub(crate) fn prepared_used(&self) {
        self.prepared_used.inc();
    }

    pub(crate) fn sandbox_made(&self, time: Duration) {
        self.sandbox.observe(time.as_secs_f64());
    }

    pub(crate) fn register(&self, registry: &mut Registry, shared: &Arc<Shared>) {
        registry.register(
            "skep_lean_launches",
            "Instances that the lean engine made",
            self.launches.clone(),
        );
        registry.register(
            "skep_lean_failed_launches",
            "Instances that the lean engine could not make",
            self.failed.clone(),
        );
        registry.register(
            "skep_lean_prepared_launches",
            "Instances that were prepared before they were asked for",
            self.prepared_used.clone(),
        );
        registry.register(
            "skep_lean_launch_seconds",
            "How long making and starting a lean instance took, its sandbox apart",
            self.launch.clone(),
        );
        registry.register(
            "skep_lean_sandbox_seconds",
            "How long making a sandbox took",
            self.sandbox.clone(),
        );
        registry.register_collector(Box::new(Sandboxes {
            shared: Arc::downgrade(shared),
        }));
    }
}

/// Counted when somebody asks.
struct Sandboxes {
    shared: Weak<Shared>,
}

impl std::fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sandboxes")
    }
}

impl Collector for Sandboxes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(());
        };
        let all = shared.pool.all();
        let used = all.iter().filter(|held| !held.is_empty()).count();
        let prepared = all
            .iter()
            .filter_map(|held| held.stock.as_ref())
            .map(Stock::len)
            .sum();
        for (name, help, count) in [
            ("skep_lean_sandboxes", "Sandboxes that stand", all.len()),
            (
                "skep_lean_sandboxes_used",
                "Sandboxes with instances in them",
                used,
            ),
            (
                "skep_lean_prepared",
                "Prepared instances that wait to be asked for",
                prepared,
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
