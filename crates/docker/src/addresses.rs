//! The addresses of a container, from its `inspect`.

use std::net::IpAddr;

use bollard::models::ContainerInspectResponse;

/// Each network's name with the container's address there; IPv4 before IPv6 on each.
pub(crate) fn of(inspect: &ContainerInspectResponse) -> Vec<(String, IpAddr)> {
    let networks = inspect
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let mut found = Vec::new();
    for (name, endpoint) in networks.into_iter().flatten() {
        let both = [
            endpoint.ip_address.as_deref(),
            endpoint.global_ipv6_address.as_deref(),
        ];
        let addresses = both.into_iter().flatten().filter_map(|text| text.parse().ok());
        found.extend(addresses.map(|address| (name.clone(), address)));
    }
    found
}
