//! How this Skep can reach the inside of an instance, found out once at start (docs/decisions/022).

use std::fs;
use std::io;

use skep_sys::{NetworkNamespace, ProcessIdentity};
use tokio::net::UnixStream;

use crate::api::Api;
use crate::client::Endpoint;

/// How instances are connected to.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// The engine's processes are ours to see, and we may enter their network namespaces.
    Namespaces {
        /// The one that containers with the host's network are in.
        host: NetworkNamespace,
    },
    /// Skep is itself a container of this engine: over a network that both are attached to.
    Networks {
        /// Skep's own container.
        own: String,
    },
    /// Not at all.
    Nowhere {
        /// A sentence for the operator that says what to do.
        reason: String,
    },
}

impl Reach {
    /// Whether network namespaces can be entered.
    pub(crate) fn can_enter(&self) -> bool {
        matches!(self, Self::Namespaces { .. })
    }

    /// Tries the ways in the order of their worth.
    pub(crate) async fn find(api: &Api) -> Self {
        let why_not = match sees_engine(api).await {
            Ok(engine) => match may_enter(engine).await {
                Ok(host) => return Self::Namespaces { host },
                Err(error) => format!("entering a network namespace is refused ({error}): run skep as root"),
            },
            Err(reason) => reason,
        };
        match own_container(api).await {
            Some(own) => Self::Networks { own },
            None => Self::Nowhere {
                reason: format!(
                    "{why_not}; http functions need a Skep on the engine's own host as root, or one that runs as a \
                     container of this engine (docker run -v /var/run/docker.sock:/var/run/docker.sock … skep)"
                ),
            },
        }
    }
}

/// The engine's process, where it, and so those of its containers, are in our process namespace.
async fn sees_engine(api: &Api) -> Result<u32, String> {
    let Endpoint::Unix(path) = &api.endpoint else {
        return Err("the engine is reached over TCP, so its containers' processes can't be seen".to_owned());
    };
    let peer = UnixStream::connect(path)
        .await
        .and_then(|stream| stream.peer_cred());
    let process = peer
        .ok()
        .and_then(|credentials| credentials.pid())
        .and_then(|id| u32::try_from(id).ok());
    // The kernel says 0 where the process can't be seen from here.
    let Some(process) = process.filter(|id| ProcessIdentity::of(*id).is_some()) else {
        return Err("the engine runs in another process namespace".to_owned());
    };
    // A virtual machine's engine (Docker Desktop) answers through a proxy that runs here; its kernel is another.
    let theirs = api
        .info()
        .await
        .ok()
        .and_then(|info| info.kernel_version)
        .unwrap_or_default();
    let ours = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if theirs != ours.trim() {
        return Err("the engine runs in a virtual machine".to_owned());
    }
    Ok(process)
}

/// Tries to enter the engine's network namespace. Where systemd holds the engine's socket the process is systemd,
/// which not every root may look into; it is in the same namespace as we are.
async fn may_enter(engine: u32) -> io::Result<NetworkNamespace> {
    let host = NetworkNamespace::of_process(engine).or_else(|_| NetworkNamespace::own())?;
    host.tcp_socket(std::net::Ipv4Addr::LOCALHOST.into()).await?;
    Ok(host)
}

/// The container that we run in, if it is one of this engine's: Docker mounts a file from the container's own
/// directory over /etc/hostname, which names it whatever cgroup version the host has.
pub(crate) async fn own_container(api: &Api) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let id = container_in(&mounts)?;
    let inspect = api.inspect(&id).await.ok()?;
    inspect.state?.running?.then_some(id)
}

fn container_in(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let root = line.split(' ').nth(3)?;
        let id = root.strip_suffix("/hostname")?.rsplit('/').next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_container_is_read_from_the_mount_over_its_host_name() {
        let id = "e9cdf171321bfb56b1c8ca7615bd2a546ae767f8652fabe73ebf61b5755c8865";
        let mounts = format!(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             310 300 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw"
        );
        assert_eq!(container_in(&mounts).as_deref(), Some(id));
        assert_eq!(
            container_in("22 1 8:1 /etc/hostname /etc/hostname rw - ext4 /dev/sda1 rw"),
            None
        );
    }
}
