//! What is counted of the process as a whole: which Skep this is, and how many functions it knows.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use skep_catalogue::Catalogue;
use tokio::sync::watch;

/// Registers both.
pub(super) fn register(registry: &mut Registry, catalogue: watch::Receiver<Arc<Catalogue>>) {
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("skep_build", "This Skep", Info::new(version));
    registry.register_collector(Box::new(Functions(catalogue)));
}

/// Counts the functions whenever somebody asks.
struct Functions(watch::Receiver<Arc<Catalogue>>);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Functions")
    }
}

impl Collector for Functions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let catalogue = self.0.borrow().clone();
        let counts = [
            ("ready", catalogue.functions().count()),
            ("invalid", catalogue.invalid().len()),
            ("superseded", catalogue.superseded().len()),
        ];
        let help = "Functions in force, templates that can't be run, and those that a newer one replaced.";
        let mut family = encoder.encode_descriptor("skep_functions", help, None, MetricType::Gauge)?;
        for (state, count) in counts {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("state", state)])?)?;
        }
        Ok(())
    }
}
