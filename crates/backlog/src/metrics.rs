//! What the backlog counts about itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::runner::REFUSALS;

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Of {
    pub(crate) function: String,
}

/// Why a run could not be begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(crate) waiting: Family<Of, Gauge>,
    pub(crate) running: Gauge,
    pub(crate) put_back: Family<Reason, Counter>,
    pub(crate) repeated: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        // A series that is there from the start can be told from one that is missing.
        for problem in REFUSALS {
            let reason = problem.as_str();
            drop(self.put_back.get_or_create(&Reason { reason }));
        }
        registry.register(
            "skep_backlog_waiting",
            "Accepted asynchronous invocations that wait, by function; those of removed functions as well",
            self.waiting.clone(),
        );
        registry.register(
            "skep_backlog_running",
            "Accepted asynchronous invocations that run now",
            self.running.clone(),
        );
        registry.register(
            "skep_backlog_put_back",
            "Runs that could not be begun and are tried again, by reason",
            self.put_back.clone(),
        );
        registry.register(
            "skep_backlog_repeated",
            "Runs of invocations that were begun before and had no recorded end: repeated after a crash",
            self.repeated.clone(),
        );
    }
}
