//! What is counted of the cluster as a gateway sees it.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::shared::Shared;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Direction {
    pub(crate) direction: &'static str,
}

/// What whoever scales counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scaling {
    /// Whether this gateway has the lease.
    pub(crate) holds: Gauge,
    /// Sandboxes asked for and given up.
    pub(crate) tasks: Family<Direction, Counter>,
    /// What the Swarm's manager did not do.
    pub(crate) failures: Counter,
}

impl Scaling {
    /// A function has another number of sandboxes from now on.
    pub(crate) fn scaled(&self, from: u32, to: u32) {
        let direction = if to > from { "out" } else { "in" };
        let changed = u64::from(from.abs_diff(to));
        self.tasks.get_or_create(&Direction { direction }).inc_by(changed);
    }
}

pub(crate) fn register(shared: &Arc<Shared>, registry: &mut Registry) {
    let scaling = &shared.scaling;
    registry.register(
        "skep_scaling_lease",
        "Whether this gateway is the one that scales",
        scaling.holds.clone(),
    );
    registry.register(
        "skep_scaled_sandboxes",
        "Sandboxes that were added (out) and taken away (in)",
        scaling.tasks.clone(),
    );
    registry.register(
        "skep_scaling_failures",
        "Changes that the Swarm's manager did not make",
        scaling.failures.clone(),
    );
    registry.register_collector(Box::new(Nodes(shared.clone())));
}

/// What agents told last, counted whenever somebody asks.
struct Nodes(Arc<Shared>);

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nodes")
    }
}

impl Collector for Nodes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let nodes = self.0.pool().nodes();
        let help = "Nodes whose agents answer, by the engine that makes instances there.";
        let mut family = encoder.encode_descriptor("skep_nodes", help, None, MetricType::Gauge)?;
        for engine in ["lean", "docker"] {
            let count = nodes.iter().filter(|(_, node)| node.engine == engine).count();
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("engine", engine)])?)?;
        }
        let sandboxes = || nodes.iter().flat_map(|(_, node)| &node.sandboxes);
        let sums = [
            ("sandboxes", sandboxes().map(|_| 1).sum::<u64>()),
            ("slots", sandboxes().map(|sandbox| u64::from(sandbox.slots)).sum()),
            (
                "running",
                sandboxes().map(|sandbox| u64::from(sandbox.running)).sum(),
            ),
        ];
        let help = "What all nodes have together: sandboxes, their slots, and invocations in them.";
        let mut family = encoder.encode_descriptor("skep_cluster", help, None, MetricType::Gauge)?;
        for (what, sum) in sums {
            let gauge = ConstGauge::new(i64::try_from(sum).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("what", what)])?)?;
        }
        Ok(())
    }
}
