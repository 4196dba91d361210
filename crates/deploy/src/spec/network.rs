//! A service's place in its networks.

use super::network_name;
use bollard::models::{EndpointIpamConfig, EndpointSettings};
use skep_compose::{Project, Service, ServiceNetwork};

/// Name and settings of each network, the first being the one whose gateway
/// is the default route.
pub(crate) fn endpoints(
    project: &Project,
    service: &Service,
    container: &str,
) -> Vec<(String, EndpointSettings)> {
    if service.network_mode.is_some() {
        return Vec::new();
    }
    service
        .networks
        .iter()
        .map(|network| {
            (
                network_name(project, &network.network),
                settings(service, network, container),
            )
        })
        .collect()
}

fn settings(service: &Service, network: &ServiceNetwork, container: &str) -> EndpointSettings {
    let mut aliases = vec![container.to_owned(), service.name.clone()];
    for alias in &network.aliases {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    let ipam = EndpointIpamConfig {
        ipv4_address: network.ipv4_address.clone(),
        ipv6_address: network.ipv6_address.clone(),
        link_local_ips: super::some(network.link_local_ips.clone()),
    };
    EndpointSettings {
        aliases: Some(aliases),
        driver_opts: crate::resources::some(&network.driver_opts),
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        ..EndpointSettings::default()
    }
}
