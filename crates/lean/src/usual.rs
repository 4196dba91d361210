//! What Docker gives every container without being asked and says nowhere: looked at in one, once.

use bollard::query_parameters::{CreateContainerOptionsBuilder, InspectContainerOptions};
use skep_model::{InstanceId, Namespace};
use skep_spawner::Limit;

use crate::cgroups;
use crate::sandbox::{self, Maker, SandboxError, within};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usual {
    /// The resource limits that a process begins with: the daemon's own, or what its configuration says.
    pub(crate) limits: Vec<Limit>,
    /// How many processes a container may have, where nobody says: systemd bounds those of every scope.
    pub(crate) processes: Option<String>,
    /// `/etc/resolv.conf` in a container without a network.
    pub(crate) resolv_conf: String,
    /// Whether Docker's own first process stands before every command (`"init": true` in its configuration).
    pub(crate) init: bool,
}

/// Starts a container that sleeps, looks at it and removes it.
pub(crate) async fn look(
    maker: &Maker<'_>,
    image: &str,
    namespace: &Namespace,
    id: InstanceId,
) -> Result<Usual, SandboxError> {
    let text = id.to_string();
    let name = format!("skep-{namespace}-usual-{}", &text[text.len() - 12..]);
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let body = sandbox::sleeping(maker, image, namespace, &id);
    let created = maker.docker.create_container(Some(options), body);
    let created = within("making a container to look at", created).await?;
    let found = look_at(maker, &created.id).await;
    sandbox::remove(maker.docker, &created.id).await;
    found
}

async fn look_at(maker: &Maker<'_>, container: &str) -> Result<Usual, SandboxError> {
    sandbox::start(maker.docker, container).await?;
    let inspect = maker
        .docker
        .inspect_container(container, None::<InspectContainerOptions>);
    let inspect = within("looking at a container", inspect).await?;
    let process = inspect.state.and_then(|state| state.pid).unwrap_or_default();
    let machine = |error| SandboxError::Machine("looking at a container's process", error);
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).map_err(machine)?;
    let command = std::fs::read(format!("/proc/{process}/cmdline")).map_err(machine)?;
    let resolv_conf = inspect.resolv_conf_path.unwrap_or_default();
    let resolv_conf = std::fs::read_to_string(resolv_conf).map_err(machine)?;
    Ok(Usual {
        limits: read(&limits),
        processes: cgroups::bound_of_processes(process),
        resolv_conf,
        init: command.split(|byte| *byte == 0).next() == Some(b"/sbin/docker-init".as_slice()),
    })
}

/// The names of proc_pid_limits(5) and of getrlimit(2).
const RESOURCES: [(&str, &str); 16] = [
    ("Max cpu time", "cpu"),
    ("Max file size", "fsize"),
    ("Max data size", "data"),
    ("Max stack size", "stack"),
    ("Max core file size", "core"),
    ("Max resident set", "rss"),
    ("Max processes", "nproc"),
    ("Max open files", "nofile"),
    ("Max locked memory", "memlock"),
    ("Max address space", "as"),
    ("Max file locks", "locks"),
    ("Max pending signals", "sigpending"),
    ("Max msgqueue size", "msgqueue"),
    ("Max nice priority", "nice"),
    ("Max realtime priority", "rtprio"),
    ("Max realtime timeout", "rttime"),
];

fn read(table: &str) -> Vec<Limit> {
    let bound = |text: Option<&str>| match text {
        Some("unlimited") => Some(None),
        Some(number) => number.parse().ok().map(Some),
        None => None,
    };
    let limit = |line: &str| {
        let (title, resource) = RESOURCES.iter().find(|(title, _)| line.starts_with(title))?;
        let mut rest = line.strip_prefix(title)?.split_ascii_whitespace();
        Some(Limit {
            resource: (*resource).to_owned(),
            soft: bound(rest.next())?,
            hard: bound(rest.next())?,
        })
    };
    table.lines().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_a_process_is_read() {
        let table = std::fs::read_to_string("/proc/self/limits").expect("it is mounted");
        assert_eq!(read(&table).len(), RESOURCES.len());
        let line = "Max open files            1024                 524288               files     ";
        let expected = Limit {
            resource: "nofile".to_owned(),
            soft: Some(1024),
            hard: Some(524_288),
        };
        assert_eq!(read(line), [expected]);
    }
}
