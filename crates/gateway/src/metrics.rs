//! What is counted at the listeners.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

/// The families of this crate.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    connections: Family<ListenerLabel, Gauge>,
    refused: Family<ListenerLabel, Counter>,
}

impl Metrics {
    /// Adds the families to a registry.
    pub fn register(&self, registry: &mut Registry) {
        // A series that is there from the start can be told from one that is missing.
        for listener in ["public", "call"] {
            drop(self.connections.get_or_create(&ListenerLabel { listener }));
            drop(self.refused.get_or_create(&ListenerLabel { listener }));
        }
        registry.register(
            "skep_connections",
            "Connections that are open now, by listener (public, call)",
            self.connections.clone(),
        );
        registry.register(
            "skep_connections_refused",
            "Connections that were refused since too many were open",
            self.refused.clone(),
        );
    }

    pub(crate) fn connections(&self, listener: &'static str) -> Gauge {
        self.connections
            .get_or_create(&ListenerLabel { listener })
            .clone()
    }

    pub(crate) fn refused(&self, listener: &'static str) {
        self.refused.get_or_create(&ListenerLabel { listener }).inc();
    }
}
