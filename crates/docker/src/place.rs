//! Where an instance is on the network: its addresses and the way to it.

use std::net::{IpAddr, Ipv4Addr};

use bollard::models::ContainerInspectResponse;
use skep_sys::NetworkNamespace;

use crate::addresses;
use crate::error::CallError;
use crate::networks::NetworkMode;
use crate::reach::Reach;
use crate::shared::Shared;
use crate::way::{FirstProcess, Way};

/// What is known of a network namespace that isn't the instance's own, before the instance is in it.
#[derive(Debug, Default)]
pub(crate) struct ForeignHost {
    /// The namespace, where it can be entered.
    pub(crate) namespace: Option<NetworkNamespace>,
    addresses: Vec<IpAddr>,
    /// The network that its owner is on.
    pub(crate) network: Option<String>,
}

impl ForeignHost {
    /// Looks at the namespace that a network mode names; nothing is known where the instance has its own.
    pub(crate) async fn of(shared: &Shared, mode: &NetworkMode) -> Result<ForeignHost, CallError> {
        match mode {
            NetworkMode::Host => {
                let namespace = match &shared.reach {
                    Reach::Namespaces { host } => Some(host.clone()),
                    Reach::Networks { .. } | Reach::Nowhere { .. } => None,
                };
                Ok(ForeignHost {
                    namespace,
                    ..ForeignHost::default()
                })
            }
            NetworkMode::Container(target) => {
                let inspect = shared.api.inspect(target).await?;
                let process = process_id(&inspect).filter(|_| shared.reach.can_enter());
                let namespace = process.map(NetworkNamespace::of_process).transpose()?;
                let (networks, addresses): (Vec<_>, Vec<_>) = addresses::of(&inspect).into_iter().unzip();
                Ok(ForeignHost {
                    namespace,
                    addresses,
                    network: networks.into_iter().next(),
                })
            }
            _ => Ok(ForeignHost::default()),
        }
    }
}

fn process_id(inspect: &ContainerInspectResponse) -> Option<u32> {
    let process = inspect.state.as_ref()?.pid?;
    u32::try_from(process).ok().filter(|process| *process > 0)
}

/// Where a started instance is.
pub(crate) struct Place {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) way: Way,
    pub(crate) process: Option<FirstProcess>,
}

impl Place {
    pub(crate) fn of(
        shared: &Shared,
        inspect: &ContainerInspectResponse,
        id: &str,
        mode: &NetworkMode,
        networks: &[String],
        host: &ForeignHost,
    ) -> Self {
        let mut own = addresses::of(inspect);
        // In the order of the template's attachments: the first is the one that it starts with.
        own.sort_by_key(|(network, _)| networks.iter().position(|name| name == network));
        let mut addresses: Vec<IpAddr> = own.into_iter().map(|(_, address)| address).collect();
        addresses.extend(&host.addresses);
        let first = addresses.first().copied();
        if *mode == NetworkMode::Host {
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        let process = process_id(inspect)
            .filter(|_| shared.reach.can_enter())
            .and_then(|process| FirstProcess::of(process, id));
        let way = match &shared.reach {
            Reach::Namespaces { .. } => match process.as_ref().and_then(open_namespace) {
                Some(namespace) => Way::Namespace {
                    namespace,
                    address: first.unwrap_or(Ipv4Addr::LOCALHOST.into()),
                    foreign: mode.is_foreign(),
                },
                None => Way::Closed("the instance has ended".to_owned()),
            },
            Reach::Networks { .. } => match first {
                Some(address) => Way::Network(address),
                None => Way::Closed("the instance has no address on a network".to_owned()),
            },
            Reach::Nowhere { reason } => Way::Closed(reason.clone()),
        };
        Self {
            addresses,
            way,
            process,
        }
    }
}

/// Opens the network namespace of a container's first process, and makes sure that it still is that process.
fn open_namespace(process: &FirstProcess) -> Option<NetworkNamespace> {
    let namespace = NetworkNamespace::of_process(process.id()?).ok()?;
    process.id().map(|_| namespace)
}
