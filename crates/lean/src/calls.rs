//! `SKEP_URL`: where an instance reaches Skep. That is an address of the host's on one of its networks; where there
//! is none, a listener on the loopback of its own network, or of its sandbox's.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use skep_docker::Inside;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use crate::engine::Shared;
use crate::held::Place;
use crate::sandbox::SandboxNetwork;

/// Where one instance reaches Skep.
pub(crate) enum Calls {
    /// At an address of the host's.
    Host(String),
    /// Inside its own network, which is made with it.
    Own(Inside),
    /// Inside its sandbox's network, beside the others there.
    Sandbox(Inside),
    Nowhere,
}

impl Calls {
    /// `port` is the one on which the instance itself is to listen.
    pub(crate) async fn of(shared: &Shared, place: &Place, name: skep_model::InstanceId, port: u16) -> Self {
        let Some(network) = &place.held.sandbox.network else {
            return Self::Own(Inside::new(name, port));
        };
        for name in &network.names {
            if let Some(url) = shared.engine.call_url(name).await {
                return Self::Host(url);
            }
        }
        let inside = Inside::new(place.held.sandbox.id, port);
        let open = network.calls.get_or_init(|| open(shared, network, inside)).await;
        open.as_ref()
            .map_or(Self::Nowhere, |(inside, _)| Self::Sandbox(*inside))
    }

    /// The port of the listener in a network of an instance's own, where `port` is the one of the instance itself.
    pub(crate) fn port_beside(port: u16) -> u16 {
        Inside::new(skep_model::InstanceId::generate(), port)
            .address()
            .port()
    }

    /// What the instance is told.
    pub(crate) fn url(&self) -> Option<String> {
        match self {
            Self::Host(url) => Some(url.clone()),
            Self::Own(inside) | Self::Sandbox(inside) => Some(inside.url()),
            Self::Nowhere => None,
        }
    }

    /// The port of the listener that is to be made with it.
    pub(crate) fn listener(&self) -> Option<u16> {
        match self {
            Self::Own(inside) => Some(inside.address().port()),
            Self::Host(_) | Self::Sandbox(_) | Self::Nowhere => None,
        }
    }

    /// The address that stands for the loopback from which its calls come.
    pub(crate) fn known_as(&self) -> Option<IpAddr> {
        match self {
            Self::Own(inside) | Self::Sandbox(inside) => Some(inside.known_as()),
            Self::Host(_) | Self::Nowhere => None,
        }
    }

    /// Takes the calls of the listener that was made with it.
    pub(crate) fn serve(&self, shared: &Shared, listener: Option<OwnedFd>) -> Option<DropGuard> {
        let (Self::Own(inside), Some(listener)) = (self, listener) else {
            return None;
        };
        let listener = TcpListener::from_std(listener.into())
            .inspect_err(|error| tracing::warn!(%error, "an instance's calls can't be taken"));
        Some(shared.engine.serve_inside(inside, listener.ok()?))
    }
}

async fn open(shared: &Shared, network: &SandboxNetwork, inside: Inside) -> Option<(Inside, DropGuard)> {
    let listener = network.namespace.listen(inside.address()).await;
    let listener =
        listener.inspect_err(|error| tracing::warn!(%error, "no SKEP_URL in a function's sandbox"));
    Some((inside, shared.engine.serve_inside(&inside, listener.ok()?)))
}
