//! `SKEP_URL` for an instance to which no address of the host's leads: `--network none`, or networks on which the
//! host has no address of its own (macvlan, a Swarm's). Skep listens inside its network namespace, on the loopback.
//!
//! The namespace is there some time before the process in it begins; where the container's cgroup can be seen, the
//! listener is there in that time too, and else a few milliseconds after the engine has said that it started.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use skep_model::InstanceId;
use skep_sys::NetworkNamespace;
use tokio_util::sync::DropGuard;

use crate::reach::Reach;
use crate::shared::Shared;

/// Above the ports that the kernel gives out by itself (ip_local_port_range), and nobody's by name: what listens in
/// an instance should not find it taken.
const PORT: u16 = 61_082;
/// Between looks at whether the namespace is there.
const PAUSE: Duration = Duration::from_millis(2);

/// A listener to be opened inside one instance, or inside a sandbox for those in it.
#[derive(Debug, Clone, Copy)]
pub struct Inside {
    address: SocketAddr,
    /// Connections come from a loopback, of which there are many: this says whose it is.
    known_as: IpAddr,
}

impl Inside {
    /// `taken` is the port on which the instance itself is to listen.
    pub fn new(instance: InstanceId, taken: u16) -> Self {
        let port = if taken == PORT { PORT + 1 } else { PORT };
        Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            known_as: instance.stand_in().into(),
        }
    }

    /// Opens one in another container's namespace, which is there before the instance, and where others may listen too:
    /// on a port that nobody has.
    pub(crate) async fn beside(
        shared: &Shared,
        namespace: &NetworkNamespace,
        instance: InstanceId,
        taken: u16,
    ) -> io::Result<(Self, DropGuard)> {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let mut listener = namespace.listen(any).await?;
        if listener.local_addr()?.port() == taken {
            // As long as the first stands, the second gets another.
            listener = namespace.listen(any).await?;
        }
        let inside = Self {
            address: listener.local_addr()?,
            known_as: instance.stand_in().into(),
        };
        let open = shared.calls.serve_inside(shared, listener, inside.known_as);
        Ok((inside, open))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the instance is told.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address by which it is known who calls.
    pub fn known_as(&self) -> IpAddr {
        self.known_as
    }

    /// Opens it in a namespace; it stays until the guard is dropped.
    pub(crate) async fn open(&self, shared: &Shared, namespace: &NetworkNamespace) -> io::Result<DropGuard> {
        let listener = namespace.listen(self.address).await?;
        Ok(shared.calls.serve_inside(shared, listener, self.known_as))
    }

    /// Opens it as soon as the container's namespace is there. It may never see that: race it with the start.
    pub(crate) async fn open_early(&self, shared: &Shared, container: &str) -> DropGuard {
        let Reach::Namespaces { host } = &shared.reach else {
            return std::future::pending().await;
        };
        loop {
            // Until its loopback is up there is nothing to listen on.
            if let Some(namespace) = namespace_of(container, host)
                && let Ok(open) = self.open(shared, &namespace).await
            {
                return open;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The network namespace of a container that is being started, once it has left the host's.
fn namespace_of(container: &str, host: &NetworkNamespace) -> Option<NetworkNamespace> {
    let groups = [
        format!("memory/docker/{container}"),
        format!("docker/{container}"),
        format!("system.slice/docker-{container}.scope"),
        format!("memory/system.slice/docker-{container}.scope"),
    ];
    let mut listed = groups
        .iter()
        .filter_map(|group| fs::read_to_string(format!("/sys/fs/cgroup/{group}/cgroup.procs")).ok());
    let process = listed.next()?.lines().next()?.parse().ok()?;
    let namespace = NetworkNamespace::of_process(process).ok()?;
    (!namespace.is(host)).then_some(namespace)
}
