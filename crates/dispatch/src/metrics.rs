//! What `/metrics` shows of dispatching. It is made from a snapshot when somebody asks, so that a function
//! without callers costs nothing.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::dispatcher::Dispatcher;
use crate::snapshot::Snapshot;

/// Instances by function and state.
pub const INSTANCES: &str = "skep_instances";
/// Callers who wait, by function and class.
pub const QUEUE_DEPTH: &str = "skep_queue_depth";
/// Bytes promised to instances.
pub const MEMORY_PROMISED: &str = "skep_memory_promised";
/// Bytes that may be promised.
pub const MEMORY_BUDGET: &str = "skep_memory_budget";
/// Launches begun.
pub const LAUNCHES: &str = "skep_launches";
/// Launches that failed or never became ready.
pub const LAUNCH_FAILURES: &str = "skep_launch_failures";
/// Invocations by how they came by their instance.
pub const GRANTS: &str = "skep_grants";
/// Callers refused.
pub const REFUSALS: &str = "skep_refusals";
/// Instances ended to make room for another function.
pub const EVICTIONS: &str = "skep_evictions";

/// Registers every family of dispatching.
pub fn register(registry: &mut Registry, dispatcher: &Dispatcher) {
    registry.register_collector(Box::new(Families(dispatcher.clone())));
}

struct Families(Dispatcher);

impl fmt::Debug for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Families")
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.0.snapshot();
        encode_instances(&snapshot, &mut encoder)?;
        encode_queues(&snapshot, &mut encoder)?;
        let bytes = Some(&Unit::Bytes);
        let promised = ConstGauge::new(as_gauge(snapshot.memory_used));
        let help = "Memory promised to instances: the sum of their limits.";
        promised.encode(encoder.encode_descriptor(MEMORY_PROMISED, help, bytes, MetricType::Gauge)?)?;
        let budget = ConstGauge::new(as_gauge(snapshot.memory_budget));
        let help = "Memory that may be promised to instances.";
        budget.encode(encoder.encode_descriptor(MEMORY_BUDGET, help, bytes, MetricType::Gauge)?)?;
        encode_totals(&snapshot, &mut encoder)
    }
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn encode_instances(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut counts: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for instance in &snapshot.instances {
        *counts
            .entry((instance.function.as_str(), instance.state.as_str()))
            .or_default() += 1;
    }
    let help = "Instances by function and state.";
    let mut family = encoder.encode_descriptor(INSTANCES, help, None, MetricType::Gauge)?;
    for ((function, state), count) in counts {
        let labels = [("function", function), ("state", state)];
        ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_queues(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Callers who wait for an instance; background ones are asynchronous invocations.";
    let mut family = encoder.encode_descriptor(QUEUE_DEPTH, help, None, MetricType::Gauge)?;
    for function in &snapshot.functions {
        for (class, count) in [
            ("foreground", function.waiting),
            ("background", function.waiting_background),
        ] {
            let labels = [("function", function.name.as_str()), ("class", class)];
            ConstGauge::new(as_gauge(count as u64)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_totals(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let totals = &snapshot.totals;
    let single = [
        (LAUNCHES, "Launches begun.", totals.launches),
        (
            LAUNCH_FAILURES,
            "Launches that failed, or whose instance never became ready.",
            totals.launch_failures,
        ),
        (
            REFUSALS,
            "Callers refused before they had an instance.",
            totals.refused,
        ),
        (
            EVICTIONS,
            "Instances ended to make room for another function.",
            totals.evicted,
        ),
    ];
    for (name, help, value) in single {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)?;
    }
    let help = "Invocations by how they came by their instance: cold (launched meanwhile), spare or reused.";
    let mut family = encoder.encode_descriptor(GRANTS, help, None, MetricType::Counter)?;
    for (kind, value) in [
        ("cold", totals.cold),
        ("spare", totals.spare),
        ("reused", totals.reused),
    ] {
        ConstCounter::new(value).encode(family.encode_family(&[("kind", kind)])?)?;
    }
    Ok(())
}
