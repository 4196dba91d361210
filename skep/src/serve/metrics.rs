//! What is read from the node at the moment that somebody asks: instances, queues, memory, and the counts that
//! dispatching keeps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use skep_catalogue::Catalogue;
use skep_dispatch::{Dispatcher, Snapshot, Totals};
use tokio::sync::watch;

type Labels = Vec<(&'static str, String)>;

/// Registers what belongs to the process as a whole.
pub(super) fn register(registry: &mut Registry, node: NodeMetrics) {
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("skep_build", "This Skep", Info::new(version));
    registry.register_collector(Box::new(node));
}

/// Reads the node whenever it is asked.
pub(super) struct NodeMetrics {
    pub(super) dispatcher: Dispatcher,
    pub(super) catalogue: watch::Receiver<Arc<Catalogue>>,
}

impl fmt::Debug for NodeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeMetrics")
    }
}

impl Collector for NodeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.dispatcher.snapshot();
        functions(&mut encoder, &self.catalogue.borrow())?;
        instances(&mut encoder, &snapshot)?;
        queues(&mut encoder, &snapshot)?;
        let memory = [
            (
                "skep_memory_promised",
                "Memory limits of all instances together",
                snapshot.memory_used,
            ),
            (
                "skep_memory_budget",
                "What those limits may come to",
                snapshot.memory_budget,
            ),
        ];
        for (name, help, bytes) in memory {
            let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
            write(&mut encoder, name, help, Some(&Unit::Bytes), &gauge)?;
        }
        totals(&mut encoder, &snapshot.totals)
    }
}

fn functions(encoder: &mut DescriptorEncoder<'_>, catalogue: &Catalogue) -> fmt::Result {
    let counts = [
        ("ready", catalogue.functions().count()),
        ("invalid", catalogue.invalid().len()),
        ("superseded", catalogue.superseded().len()),
    ];
    let series = counts.map(|(state, count)| (vec![("state", state.to_owned())], gauge(count)));
    family(
        encoder,
        "skep_functions",
        "Functions in force, templates that can't be run, and those that a newer one replaced",
        series.into_iter(),
    )
}

fn instances(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let mut counts: BTreeMap<(String, &'static str), usize> = BTreeMap::new();
    for instance in &snapshot.instances {
        *counts
            .entry((instance.function.to_string(), instance.state.as_str()))
            .or_default() += 1;
    }
    let series = counts.into_iter().map(|((function, state), count)| {
        (
            vec![("function", function), ("state", state.to_owned())],
            gauge(count),
        )
    });
    family(
        encoder,
        "skep_instances",
        "Instances, by what they are doing",
        series,
    )
}

fn queues(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    let series = snapshot.functions.iter().flat_map(|function| {
        [
            ("request", function.waiting),
            ("async", function.waiting_background),
        ]
        .map(|(trigger, count)| {
            (
                vec![
                    ("function", function.name.to_string()),
                    ("trigger", trigger.to_owned()),
                ],
                gauge(count),
            )
        })
    });
    family(
        encoder,
        "skep_queue_depth",
        "Invocations that wait for an instance",
        series,
    )
}

fn totals(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let starts = [
        ("cold", totals.cold),
        ("spare", totals.spare),
        ("reused", totals.reused),
    ];
    let series = starts.map(|(start, count)| (vec![("start", start.to_owned())], ConstCounter::new(count)));
    let help = "Invocations that got an instance: launched for them (cold), a spare, or a reused one";
    family(encoder, "skep_starts", help, series.into_iter())?;
    for (name, help, count) in [
        ("skep_launches", "Launches of instances begun", totals.launches),
        (
            "skep_launch_failures",
            "Launches that failed or never became ready",
            totals.launch_failures,
        ),
        (
            "skep_refused",
            "Invocations refused before they got an instance",
            totals.refused,
        ),
        (
            "skep_evicted",
            "Idle instances and spares ended to make room for another function",
            totals.evicted,
        ),
    ] {
        write(encoder, name, help, None, &ConstCounter::new(count))?;
    }
    Ok(())
}

fn gauge(count: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}

/// One series without labels.
fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

/// A series for each set of labels.
fn family<M: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (Labels, M)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, M::TYPE)?;
    for (labels, metric) in series {
        metric.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
