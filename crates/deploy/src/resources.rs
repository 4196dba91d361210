//! Networks and volumes: made where they are missing, never changed.

use crate::engine::is_missing;
use crate::error::DeployError;
use crate::labels;
use crate::progress::{Event, Progress};
use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect, VolumeCreateRequest};
use skep_compose::{Network, Project, Volume};
use std::collections::{BTreeMap, HashMap};

/// Makes the project's networks; gives each one's gateway address, where it
/// has one, by its key in the file.
pub(crate) async fn networks(
    docker: &Docker,
    project: &Project,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, String>, DeployError> {
    let mut gateways = BTreeMap::new();
    for (key, network) in &project.networks {
        let found = match inspect(docker, &network.name).await? {
            Some(found) => {
                let owner = found
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(labels::PROJECT));
                if !network.external && owner != Some(&project.name) {
                    progress.event(Event::Note {
                        text: format!(
                            "the network {} exists already and belongs to {}; it is used as it is, \
                             mark it external: true if that is meant",
                            network.name,
                            owner.map_or("no project", String::as_str)
                        ),
                    });
                }
                Some(found)
            }
            None if network.external => {
                return Err(DeployError::NoExternal {
                    kind: "network",
                    name: network.name.clone(),
                });
            }
            None => {
                let name = &network.name;
                docker
                    .create_network(network_request(project, key, network))
                    .await
                    .map_err(DeployError::engine(format!("create the network {name}")))?;
                progress.event(Event::Created {
                    kind: "network",
                    name: name.clone(),
                });
                inspect(docker, name).await?
            }
        };
        if let Some(gateway) = found.and_then(gateway) {
            gateways.insert(key.clone(), gateway);
        }
    }
    Ok(gateways)
}

async fn inspect(docker: &Docker, name: &str) -> Result<Option<NetworkInspect>, DeployError> {
    match docker.inspect_network(name, None).await {
        // The engine also finds networks by the beginning of their id.
        Ok(network) if network.name.as_deref() == Some(name) => Ok(Some(network)),
        Ok(_) => Ok(None),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(DeployError::engine(format!("look for the network {name}"))(error)),
    }
}

/// The host's IPv4 address on a network, else its IPv6 one; without a driver
/// that gives the host one (overlay, macvlan, none) there is no way to Skep.
fn gateway(network: NetworkInspect) -> Option<String> {
    if network.driver.as_deref() != Some("bridge") {
        return None;
    }
    let addresses: Vec<String> = network
        .ipam?
        .config?
        .into_iter()
        .filter_map(|config| config.gateway)
        .map(|address| address.split('/').next().unwrap_or_default().to_owned())
        .filter(|address| !address.is_empty())
        .collect();
    addresses
        .iter()
        .find(|address| !address.contains(':'))
        .or(addresses.first())
        .map(|address| {
            if address.contains(':') {
                format!("[{address}]")
            } else {
                address.clone()
            }
        })
}

fn network_request(project: &Project, key: &str, network: &Network) -> NetworkCreateRequest {
    let config = network
        .ipam
        .config
        .iter()
        .map(|subnet| IpamConfig {
            subnet: subnet.subnet.clone(),
            ip_range: subnet.ip_range.clone(),
            gateway: subnet.gateway.clone(),
            auxiliary_addresses: some(&subnet.aux_addresses),
        })
        .collect::<Vec<_>>();
    let ipam = Ipam {
        driver: network.ipam.driver.clone(),
        config: (!config.is_empty()).then_some(config),
        options: some(&network.ipam.options),
    };
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: network.driver.clone(),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv6: network.enable_ipv6,
        options: some(&network.driver_opts),
        labels: Some(own_labels(project, labels::NETWORK, key, &network.labels)),
        ipam: (ipam != Ipam::default()).then_some(ipam),
        ..NetworkCreateRequest::default()
    }
}

/// Makes the project's named volumes.
pub(crate) async fn volumes(
    docker: &Docker,
    project: &Project,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    for (key, volume) in &project.volumes {
        let name = &volume.name;
        match docker.inspect_volume(name).await {
            Ok(_) => continue,
            Err(error) if is_missing(&error) => {}
            Err(error) => {
                return Err(DeployError::engine(format!("look for the volume {name}"))(error));
            }
        }
        if volume.external {
            return Err(DeployError::NoExternal {
                kind: "volume",
                name: name.clone(),
            });
        }
        docker
            .create_volume(volume_request(project, key, volume))
            .await
            .map_err(DeployError::engine(format!("create the volume {name}")))?;
        progress.event(Event::Created {
            kind: "volume",
            name: name.clone(),
        });
    }
    Ok(())
}

fn volume_request(project: &Project, key: &str, volume: &Volume) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(volume.name.clone()),
        driver: volume.driver.clone(),
        driver_opts: some(&volume.driver_opts),
        labels: Some(own_labels(project, labels::VOLUME, key, &volume.labels)),
        ..VolumeCreateRequest::default()
    }
}

fn own_labels(
    project: &Project,
    kind: &str,
    key: &str,
    labels: &BTreeMap<String, String>,
) -> HashMap<String, String> {
    let own = [
        (kind, key),
        (labels::PROJECT, &project.name),
        (labels::VERSION, labels::COMPOSE_VERSION),
    ];
    labels
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .chain(own.map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

/// What the engine takes as a map; nothing where there is nothing.
pub(crate) fn some(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| {
        map.iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    })
}
