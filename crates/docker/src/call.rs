//! Call listeners: where functions and services reach Skep (`SKEP_URL`).
//!
//! On each network in use there is one listener, on the network's gateway address (Skep's own address there, where
//! Skep is a container), all with the same port. Only connections from that network's own subnets are handed on.
//! Listeners are opened when the first instance on a network is launched, and by the reconciler for the networks of
//! services; the reconciler closes those whose network is gone.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bollard::models::NetworkInspect;
use skep_model::label;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::addresses;
use crate::error::CallError;
use crate::reach::Reach;
use crate::shared::Shared;
use crate::subnet::Subnet;

/// Connections to `SKEP_URL`, with the address they come from.
pub type CallReceiver = mpsc::Receiver<(TcpStream, SocketAddr)>;

/// A network on which nothing could be opened is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);
/// The name under which the host's own loopback is kept; no network can be called so.
const HOST: &str = "host";

/// All call listeners.
#[derive(Debug)]
pub(crate) struct CallListeners {
    /// The port of all of them; 0 until the first was opened.
    port: AtomicU16,
    listeners: Mutex<HashMap<String, Entry>>,
    sender: mpsc::Sender<(TcpStream, SocketAddr)>,
    closing: CancellationToken,
}

#[derive(Debug)]
enum Entry {
    Open {
        network: String,
        url: String,
        _open: DropGuard,
    },
    Failed {
        at: Instant,
    },
}

/// Where to listen on one network, and for whom.
struct Spot {
    network: String,
    address: IpAddr,
    subnets: Vec<Subnet>,
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{}", .0.chain())]
    Call(#[from] CallError),
    #[error("it has no address that containers on it could reach")]
    NoAddress,
    #[error("listening on {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
}

impl CallListeners {
    pub(crate) fn new(port: u16) -> (Self, CallReceiver) {
        let (sender, receiver) = mpsc::channel(64);
        let (port, listeners, closing) = (AtomicU16::new(port), Mutex::default(), CancellationToken::new());
        (
            Self {
                port,
                listeners,
                sender,
                closing,
            },
            receiver,
        )
    }

    /// The port of all of them; 0 until it is known.
    pub(crate) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// The URL for containers on a network; its listener is opened by the first who asks.
    pub(crate) async fn url(&self, shared: &Shared, network: &str) -> Option<String> {
        let mut listeners = self.listeners.lock().await;
        match listeners.get(network) {
            Some(Entry::Open { url, .. }) => return Some(url.clone()),
            Some(Entry::Failed { at }) if at.elapsed() < RETRY => return None,
            Some(Entry::Failed { .. }) | None => {}
        }
        let opened = match self.spot(shared, network).await {
            Ok(spot) => self.open(shared, spot).await,
            Err(error) => Err(error),
        };
        let entry = opened.unwrap_or_else(|error| {
            tracing::warn!(network, %error, "no SKEP_URL on this network for now");
            Entry::Failed { at: Instant::now() }
        });
        let url = match &entry {
            Entry::Open { url, .. } => Some(url.clone()),
            Entry::Failed { .. } => None,
        };
        listeners.insert(network.to_owned(), entry);
        url
    }

    /// The URL for containers in the host's own network namespace.
    pub(crate) async fn host_url(&self, shared: &Shared) -> Option<String> {
        if shared.reach.can_enter() {
            self.url(shared, HOST).await
        } else {
            None
        }
    }

    /// Closes the listeners of networks that are gone or were made anew, and opens those that services need.
    pub(crate) async fn reconcile(&self, shared: &Shared) {
        let known: Vec<(String, String)> = {
            let listeners = self.listeners.lock().await;
            let open = listeners.iter().filter_map(|(name, entry)| match entry {
                Entry::Open { network, .. } if name != HOST => Some((name.clone(), network.clone())),
                _ => None,
            });
            open.collect()
        };
        for (name, id) in known {
            let stale = match shared.api.network(&name).await {
                Ok(network) => network.id.as_deref() != Some(&id),
                Err(error) => error.is_not_found(),
            };
            if stale {
                self.listeners.lock().await.remove(&name);
            }
        }
        for network in service_networks(shared).await {
            self.url(shared, &network).await;
        }
    }

    /// Takes connections on a listener inside an instance's own namespace, all of which are that instance's.
    pub(crate) fn serve_inside(&self, shared: &Shared, listener: TcpListener, known_as: IpAddr) -> DropGuard {
        let open = self.closing.child_token();
        let (subnets, sender) = (vec![Subnet::LOOPBACK], self.sender.clone());
        shared
            .tasks
            .spawn(accept(listener, subnets, sender, Some(known_as), open.clone()));
        open.drop_guard()
    }

    /// Stops listening everywhere.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    async fn spot(&self, shared: &Shared, name: &str) -> Result<Spot, OpenError> {
        if name == HOST {
            let (address, subnets) = (Ipv4Addr::LOCALHOST.into(), vec![Subnet::LOOPBACK]);
            return Ok(Spot {
                network: HOST.to_owned(),
                address,
                subnets,
            });
        }
        let network = shared.api.network(name).await?;
        let (subnets, gateways) = blocks(&network);
        let address = match &shared.reach {
            Reach::Networks { own } => {
                shared.own_networks.join(shared, own, &[name.to_owned()]).await?;
                let inspect = shared.api.inspect(own).await?;
                addresses::of(&inspect)
                    .into_iter()
                    .find(|(network, _)| network == name)
                    .map(|(_, address)| address)
            }
            Reach::Namespaces { .. } | Reach::Nowhere { .. } => gateways.first().copied(),
        };
        let address = address.ok_or(OpenError::NoAddress)?;
        Ok(Spot {
            network: network.id.unwrap_or_default(),
            address,
            subnets,
        })
    }

    async fn open(&self, shared: &Shared, spot: Spot) -> Result<Entry, OpenError> {
        let address = SocketAddr::new(spot.address, self.port.load(Ordering::Relaxed));
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| OpenError::Bind(address, error))?;
        let address = listener
            .local_addr()
            .map_err(|error| OpenError::Bind(address, error))?;
        // The map's lock is held by whoever opens, so that the first to open chooses for all.
        self.port.store(address.port(), Ordering::Relaxed);
        let open = self.closing.child_token();
        shared.tasks.spawn(accept(
            listener,
            spot.subnets,
            self.sender.clone(),
            None,
            open.clone(),
        ));
        Ok(Entry::Open {
            network: spot.network,
            url: format!("http://{address}"),
            _open: open.drop_guard(),
        })
    }
}

/// `known_as` takes the place of an address that says nothing.
async fn accept(
    listener: TcpListener,
    subnets: Vec<Subnet>,
    sender: mpsc::Sender<(TcpStream, SocketAddr)>,
    known_as: Option<IpAddr>,
    closed: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = closed.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if subnets.iter().any(|subnet| subnet.contains(peer.ip())) => {
                let peer = known_as.map_or(peer, |address| SocketAddr::new(address, peer.port()));
                if sender.send((stream, peer)).await.is_err() {
                    return;
                }
            }
            Ok((_, peer)) => tracing::debug!(%peer, "a call from outside its network was closed"),
            Err(error) => {
                // Out of file descriptors, most likely: those who hold them need a moment to end.
                tracing::warn!(%error, "a call could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A network's subnets and gateways, IPv4 first. Where Docker doesn't name the gateway it is the first address.
fn blocks(network: &NetworkInspect) -> (Vec<Subnet>, Vec<IpAddr>) {
    let configured = network
        .ipam
        .as_ref()
        .and_then(|ipam| ipam.config.as_ref())
        .into_iter()
        .flatten();
    let (mut subnets, mut gateways) = (Vec::new(), Vec::new());
    for block in configured {
        let Some(subnet) = block.subnet.as_deref().and_then(Subnet::read) else {
            continue;
        };
        let named = block
            .gateway
            .as_deref()
            .and_then(|text| text.split('/').next()?.parse().ok());
        gateways.push(named.unwrap_or_else(|| subnet.first()));
        subnets.push(subnet);
    }
    gateways.sort_by_key(IpAddr::is_ipv6);
    (subnets, gateways)
}

/// The networks of this namespace's running services.
async fn service_networks(shared: &Shared) -> BTreeSet<String> {
    let labels = vec![
        format!("{}={}", label::NAMESPACE, shared.namespace),
        label::SERVICE.to_owned(),
    ];
    let services = shared.api.list(labels, true).await.unwrap_or_else(|error| {
        tracing::debug!(error = error.chain(), "services could not be listed");
        Vec::new()
    });
    let networks = services
        .into_iter()
        .filter_map(|service| service.network_settings?.networks);
    networks
        .flat_map(|networks| networks.into_keys())
        .filter(|name| name != HOST && name != "none")
        .collect()
}
