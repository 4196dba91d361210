//! What the store counts about itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Which of the two databases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Database {
    pub(crate) database: &'static str,
}

/// Why something was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
}

/// Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) ended: Counter,
    pub(crate) dropped: Family<Kind, Counter>,
    pub(crate) errors: Family<Database, Counter>,
    pub(crate) group: Family<Database, Histogram>,
    pub(crate) commit: Family<Database, Histogram>,
    pub(crate) bytes: Family<Database, Gauge>,
    pub(crate) removed: Family<Kind, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            ended: Counter::default(),
            dropped: Family::default(),
            errors: Family::default(),
            group: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1.0, 2.0, 10))),
            commit: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 2.0, 16))),
            bytes: Family::default(),
            removed: Family::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        // A series that is there from the start can be told from one that is missing.
        for kind in ["record", "line"] {
            drop(self.dropped.get_or_create(&Kind { kind }));
        }
        for kind in ["invocation", "record", "line"] {
            drop(self.removed.get_or_create(&Kind { kind }));
        }
        for database in ["queue", "records"] {
            drop(self.errors.get_or_create(&Database { database }));
            drop(self.group.get_or_create(&Database { database }));
            drop(self.commit.get_or_create(&Database { database }));
        }
        for database in ["queue", "records", "bodies"] {
            drop(self.bytes.get_or_create(&Database { database }));
        }
        registry.register(
            "skep_async_accepted",
            "Asynchronous invocations that were accepted, each on the disk before it was counted",
            self.accepted.clone(),
        );
        registry.register(
            "skep_async_ended",
            "Asynchronous invocations whose end was stored",
            self.ended.clone(),
        );
        registry.register(
            "skep_records_dropped",
            "Records and log lines that were counted here instead of kept, for want of time or space",
            self.dropped.clone(),
        );
        registry.register(
            "skep_store_errors",
            "Commits that failed, by database: a full disk, an I/O error",
            self.errors.clone(),
        );
        registry.register(
            "skep_store_commit_group",
            "How many changes shared one commit",
            self.group.clone(),
        );
        registry.register_with_unit(
            "skep_store_commit",
            "How long a commit took, its sync included",
            Unit::Seconds,
            self.commit.clone(),
        );
        registry.register_with_unit(
            "skep_store_size",
            "How large the database files and the spilled bodies are",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register(
            "skep_store_removed",
            "Ended invocations, records and log lines removed because of their age or for space",
            self.removed.clone(),
        );
    }
}
