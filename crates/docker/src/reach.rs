//! How this Skep can reach the inside of an instance, found out once at start (docs/decisions/022).

use std::fs;
use std::io;

use skep_sys::NetworkNamespace;
use tokio::net::UnixStream;

use crate::api::Api;
use crate::client::Endpoint;

/// How instances are connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The engine's processes are ours to see, and we may enter their network namespaces.
    Namespaces,
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
    /// Tries the ways in the order of their worth.
    pub(crate) async fn find(api: &Api) -> Self {
        let why_not = match sees_engine(api).await {
            Ok(()) => match may_enter().await {
                Ok(()) => return Self::Namespaces,
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

/// Whether the engine's process, and so those of its containers, are in our process namespace.
async fn sees_engine(api: &Api) -> Result<(), String> {
    let Endpoint::Unix(path) = &api.endpoint else {
        return Err("the engine is reached over TCP, so its containers' processes can't be seen".to_owned());
    };
    let peer = UnixStream::connect(path)
        .await
        .and_then(|stream| stream.peer_cred());
    let process = peer
        .ok()
        .and_then(|credentials| credentials.pid())
        .filter(|id| *id > 0);
    let visible = process.is_some_and(|id| fs::metadata(format!("/proc/{id}/ns/net")).is_ok());
    if !visible {
        return Err("the engine runs in another process namespace".to_owned());
    }
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
    Ok(())
}

async fn may_enter() -> io::Result<()> {
    let namespace = NetworkNamespace::own()?;
    namespace
        .tcp_socket(std::net::Ipv4Addr::LOCALHOST.into())
        .await
        .map(drop)
}

/// The container that we run in, if it is one of this engine's: Docker mounts a file from the container's own
/// directory over /etc/hostname, which names it whatever cgroup version the host has.
async fn own_container(api: &Api) -> Option<String> {
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
