//! What should be on the Swarm, as the engine is asked for it. No I/O.

mod agent;
mod gateway;
mod leave;
mod nats;

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    HealthConfig, Mount, MountType, ServiceSpec, TaskSpecContainerSpecFile, TaskSpecContainerSpecSecrets,
    TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use skep_wire::{PART, READY_FILE, variable};

pub(crate) use agent::{agent, arguments as agent_arguments, start as agent_start};
pub(crate) use gateway::{LISTEN_PORT, constraints, environment as gateway_environment, gateway};
pub(crate) use leave::leave;
pub(crate) use nats::{CLIENT_PORT, Server, configuration, nats, node_of};

/// The label with the digest of what was asked for, by which a second run sees that nothing is to be done.
pub(crate) const DIGEST: &str = "skep.install";
/// The volume with a gateway's data, on each node that has run one.
pub(crate) const GATEWAY_VOLUME: &str = "skep-gateway";
/// The volume with a queue server's data, on each node that has run one.
pub(crate) const NATS_VOLUME: &str = "skep-nats";
/// Where the engine's socket is.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";
/// A task gets more than its work, so that Swarm isn't the one to cut it short.
const GRACE: Duration = Duration::from_secs(30);

/// The first look comes after as long, too, so that it can't be much longer; each costs a process.
pub(crate) const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// A gateway is of use when it accepts connections.
pub(crate) const GATEWAY_HEALTH: [&str; 4] = ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080"];
/// A launcher is, when its agent has spoken.
pub(crate) const AGENT_HEALTH: [&str; 4] = ["CMD", "test", "-e", READY_FILE];
/// How long a gateway may take to come up.
pub(crate) const GATEWAY_START: Duration = Duration::from_secs(60);

/// A secret or config on the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// What the services are made from, besides the options.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    /// The image, pinned by its digest where a registry knows it.
    pub(crate) image: String,
    /// What tells two images of one name apart where no registry does.
    pub(crate) image_id: String,
    pub(crate) network: String,
    pub(crate) gateway_keys: Stored,
    pub(crate) agent_keys: Stored,
    pub(crate) pause: Stored,
    pub(crate) registries: Option<Stored>,
    /// What a gateway is told of the queue that all of them share, where they do.
    pub(crate) queue: Option<Stored>,
}

/// A hexadecimal digest of a few characters: enough to tell things apart, short enough for a name.
pub(crate) fn short_digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of what is asked for, whatever the order in which maps are written.
pub(crate) fn digest(spec: &ServiceSpec) -> String {
    let value = serde_json::to_value(spec).unwrap_or_default();
    short_digest(sorted(value).to_string().as_bytes())
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Writes the digest onto the service, and onto its tasks: so it can be seen of each which spec it runs.
fn sealed(mut spec: ServiceSpec, part: &str) -> ServiceSpec {
    let digest = digest(&spec);
    let labels = HashMap::from([(PART.to_owned(), part.to_owned()), (DIGEST.to_owned(), digest)]);
    spec.labels = Some(labels.clone());
    if let Some(container) = spec
        .task_template
        .as_mut()
        .and_then(|task| task.container_spec.as_mut())
    {
        container.labels.get_or_insert_default().extend(labels);
    }
    spec
}

fn secret(stored: &Stored, path: &str) -> TaskSpecContainerSpecSecrets {
    let file = path.rsplit('/').next().unwrap_or(path);
    TaskSpecContainerSpecSecrets {
        secret_id: Some(stored.id.clone()),
        secret_name: Some(stored.name.clone()),
        file: Some(TaskSpecContainerSpecFile {
            name: Some(file.to_owned()),
            uid: Some("0".to_owned()),
            gid: Some("0".to_owned()),
            mode: Some(0o400),
        }),
    }
}

fn bind(path: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(path.to_owned()),
        target: Some(path.to_owned()),
        ..Mount::default()
    }
}

/// Where a part is, in Swarm's own words for it.
pub(crate) fn place() -> [String; 3] {
    [
        format!("{}={{{{.Node.ID}}}}", variable::NODE),
        format!("{}={{{{.Node.Hostname}}}}", variable::NODE_NAME),
        format!("{}={{{{.Task.ID}}}}", variable::TASK),
    ]
}

fn restarted() -> TaskSpecRestartPolicy {
    TaskSpecRestartPolicy {
        condition: Some(TaskSpecRestartPolicyConditionEnum::ANY),
        delay: Some(nanoseconds(Duration::from_secs(1))),
        ..TaskSpecRestartPolicy::default()
    }
}

/// How Swarm learns that a task is of use, so that an update goes on to the next node only then.
fn health(test: &[&str], start: Duration) -> HealthConfig {
    HealthConfig {
        test: Some(test.iter().map(|word| (*word).to_owned()).collect()),
        interval: Some(nanoseconds(HEALTH_INTERVAL)),
        timeout: Some(nanoseconds(HEALTH_INTERVAL)),
        retries: Some(3),
        start_period: Some(nanoseconds(start)),
        ..HealthConfig::default()
    }
}

/// As the engine counts time.
pub(crate) fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn grace(drain: Duration) -> i64 {
    nanoseconds(drain.saturating_add(GRACE))
}

/// How long Swarm lets a task end by itself.
pub(crate) fn grace_seconds(drain: Duration) -> u64 {
    drain.saturating_add(GRACE).as_secs()
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs().max(1))
}

#[cfg(test)]
mod tests;
