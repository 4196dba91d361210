//! What is counted of the engine: every call, how long it took, how many failed.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Which call of the Engine API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Call {
    call: &'static str,
}

/// The engine's metrics; a clone counts into the same.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    calls: Family<Call, Counter>,
    errors: Family<Call, Counter>,
    seconds: Family<Call, Histogram>,
    swept: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(|| {
                Histogram::new([
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                ])
            }),
            swept: Counter::default(),
        }
    }
}

impl Metrics {
    /// Adds every family to a registry. prometheus-client appends `_total` to the counters.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "skep_engine_calls",
            "Calls of the Docker Engine API",
            self.calls.clone(),
        );
        registry.register(
            "skep_engine_errors",
            "Calls of the Docker Engine API that failed",
            self.errors.clone(),
        );
        registry.register(
            "skep_engine_call_duration_seconds",
            "How long calls of the Docker Engine API took",
            self.seconds.clone(),
        );
        registry.register(
            "skep_engine_swept",
            "Orphaned containers that the sweep removed",
            self.swept.clone(),
        );
    }

    pub(crate) fn count(&self, call: &'static str, seconds: f64, failed: bool) {
        let call = Call { call };
        self.calls.get_or_create(&call).inc();
        self.seconds.get_or_create(&call).observe(seconds);
        // Made at the first call, failed or not: a rate of errors needs its zero.
        self.errors.get_or_create(&call).inc_by(u64::from(failed));
    }

    pub(crate) fn count_swept(&self, removed: usize) {
        self.swept.inc_by(removed as u64);
    }
}
