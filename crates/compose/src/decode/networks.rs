//! `networks` of a service, and what the file says about networks and volumes.

use super::fields::{Context, Fields, named};
use crate::problem::Problem;
use crate::project::{Ipam, Network, ServiceNetwork, Subnet, Volume};
use crate::yaml::{Entry, Value};

impl Fields<'_> {
    /// The networks a service joins, the highest priority first.
    pub(super) fn service_networks(&self) -> Vec<ServiceNetwork> {
        let Some((node, path)) = self.take("networks") else {
            return Vec::new();
        };
        let mut networks: Vec<ServiceNetwork> = match &node.value {
            Value::Sequence(_) => self
                .context
                .texts(node, &path)
                .into_iter()
                .map(|network| ServiceNetwork {
                    network,
                    ..ServiceNetwork::default()
                })
                .collect(),
            _ => named(self.context, node, &path)
                .into_iter()
                .filter_map(|(entry, path)| self.service_network(entry, &path))
                .collect(),
        };
        networks.sort_by_key(|network| std::cmp::Reverse(network.priority));
        networks
    }

    fn service_network(&self, entry: &Entry, path: &str) -> Option<ServiceNetwork> {
        let fields = Fields::open(self.context, &entry.node, path)?;
        let network = ServiceNetwork {
            network: entry.key.clone(),
            aliases: fields.texts("aliases"),
            ipv4_address: fields.text("ipv4_address"),
            ipv6_address: fields.text("ipv6_address"),
            link_local_ips: fields.texts("link_local_ips"),
            driver_opts: fields.labels("driver_opts"),
            priority: fields.number("priority").unwrap_or(0),
        };
        fields.finish();
        Some(network)
    }
}

/// Whether and under which name something exists outside the project.
fn external(fields: &Fields<'_>, key: &str) -> (bool, Option<String>) {
    let name = fields.text("name");
    let Some((node, path)) = fields.take("external") else {
        return (false, name);
    };
    match &node.value {
        Value::Mapping(_) => {
            fields.context.refuse(
                Problem::new("this form of external is no longer part of Compose")
                    .at(&node.position, path)
                    .hint("write external: true, and name: beside it"),
            );
            (true, name)
        }
        _ => {
            let external = fields.boolean("external").unwrap_or(false);
            let name = name.or_else(|| external.then(|| key.to_owned()));
            (external, name)
        }
    }
}

/// What an external resource says about itself would never be applied.
fn only_name(fields: &Fields<'_>, keys: &[&'static str]) {
    fields.refused(
        keys,
        "an external resource is taken as it is",
        "remove this key, or remove external",
    );
}

pub(super) fn network(context: &Context<'_>, entry: &Entry, path: &str, project: &str) -> Network {
    let mut network = Network::default();
    let Some(fields) = Fields::open(context, &entry.node, path) else {
        return network;
    };
    let (is_external, name) = external(&fields, &entry.key);
    network.external = is_external;
    network.name = name.unwrap_or_else(|| format!("{project}_{}", entry.key));
    if is_external {
        only_name(
            &fields,
            &[
                "driver",
                "driver_opts",
                "ipam",
                "internal",
                "attachable",
                "enable_ipv6",
                "labels",
            ],
        );
    } else {
        network.driver = fields.text("driver");
        network.driver_opts = fields.labels("driver_opts");
        network.internal = fields.boolean("internal").unwrap_or(false);
        network.attachable = fields.boolean("attachable").unwrap_or(false);
        network.enable_ipv6 = fields.boolean("enable_ipv6");
        network.labels = fields.labels("labels");
        if let Some(ipam) = fields.inner("ipam") {
            network.ipam = Ipam {
                driver: ipam.text("driver"),
                config: subnets(context, &ipam),
                options: ipam.labels("options"),
            };
            ipam.finish();
        }
    }
    fields.finish();
    network
}

fn subnets(context: &Context<'_>, ipam: &Fields<'_>) -> Vec<Subnet> {
    let mut subnets = Vec::new();
    for (node, path) in ipam.items("config") {
        let Some(fields) = Fields::open(context, node, &path) else {
            continue;
        };
        subnets.push(Subnet {
            subnet: fields.text("subnet"),
            ip_range: fields.text("ip_range"),
            gateway: fields.text("gateway"),
            aux_addresses: fields.labels("aux_addresses"),
        });
        fields.finish();
    }
    subnets
}

pub(super) fn volume(context: &Context<'_>, entry: &Entry, path: &str, project: &str) -> Volume {
    let mut volume = Volume::default();
    let Some(fields) = Fields::open(context, &entry.node, path) else {
        return volume;
    };
    let (is_external, name) = external(&fields, &entry.key);
    volume.external = is_external;
    volume.name = name.unwrap_or_else(|| format!("{project}_{}", entry.key));
    if is_external {
        only_name(&fields, &["driver", "driver_opts", "labels"]);
    } else {
        volume.driver = fields.text("driver");
        volume.driver_opts = fields.labels("driver_opts");
        volume.labels = fields.labels("labels");
    }
    fields.finish();
    volume
}
