//! The queue of a Swarm: three servers on three nodes, or one where there are fewer.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{Node, ServiceSpec};
use skep_deploy::{Event, Progress};
use skep_tls::Authority;
use skep_wire::{GATEWAY_NAME, Keys, NATS_SERVICE};
use tokio::time::sleep;

use crate::error::InstallError;
use crate::install::bring;
use crate::material::{self, image, of_secret, secret, secrets};
use crate::options::{Options, Queue};
use crate::plan;
use crate::spec::{self, CLIENT_PORT, DIGEST, Material, Server, Stored, short_digest};
use crate::swarm;
use crate::wait;

/// With fewer, one that is lost takes all of them along.
const SERVERS: usize = 3;
const SERVER_KEYS: &str = "skep-nats-keys-";
const QUEUE: &str = "skep-queue-";
/// A server that was updated has to hear from the others before the next one may go.
const REJOIN: Duration = Duration::from_secs(10);

/// The servers with what they are made from.
#[derive(Debug)]
pub(crate) struct Planned {
    servers: Vec<Server>,
    image: (String, String),
    configuration: Stored,
    keys: Stored,
    /// What gateways are told.
    pub(crate) queue: Stored,
}

impl Planned {
    /// The secrets that are in use.
    pub(crate) fn secrets(&self) -> [&Stored; 3] {
        [&self.configuration, &self.keys, &self.queue]
    }
}

/// Chooses nodes for the servers: those that have them, then managers, then others.
fn place(there: &[(String, Option<String>)], nodes: &[Node]) -> Vec<Server> {
    let mut free: Vec<&Node> = nodes.iter().filter(|node| plan::takes_tasks(node)).collect();
    free.sort_by_key(|node| (!plan::is_manager(node), plan::name(node)));
    let count = match there.len() {
        // One server's data is not what three would begin with: the number stays.
        0 => {
            if free.len() < SERVERS {
                1
            } else {
                SERVERS
            }
        }
        1 => 1,
        _ => SERVERS,
    };
    let is_there = |id: &String| nodes.iter().any(|node| node.id.as_ref() == Some(id));
    let known = |name: &str| {
        let found = there.iter().find(|(own, _)| own == name)?;
        found.1.clone().filter(|id| is_there(id))
    };
    let names: Vec<String> = (1..=count)
        .map(|number| format!("{NATS_SERVICE}-{number}"))
        .collect();
    let taken: Vec<String> = names.iter().filter_map(|name| known(name)).collect();
    let mut free = free
        .into_iter()
        .filter_map(|node| node.id.clone())
        .filter(|id| !taken.contains(id));
    let server = |name: String| {
        let node = known(&name).or_else(|| free.next())?;
        Some(Server { name, node })
    };
    names.into_iter().filter_map(server).collect()
}

/// Finds the servers that there are, or chooses where they are to be; makes what they are made from.
pub(crate) async fn plan(
    docker: &Docker,
    options: &Options,
    nodes: &[Node],
    progress: &dyn Progress,
) -> Result<Option<Planned>, InstallError> {
    let Queue::Nats { image: name } = &options.queue else {
        return Ok(None);
    };
    let there = services(docker).await?;
    let servers = place(&there, nodes);
    let image = image(docker, name, progress).await?;
    let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
    let text = spec::configuration(&names);
    let configuration = format!("skep-nats-conf-{}", short_digest(text.as_bytes()));
    let configuration = match find(docker, &configuration).await? {
        Some(found) => found,
        None => secret(docker, progress, &configuration, "nats", text.as_bytes()).await?,
    };
    let (keys, queue) = keys(docker, &names, progress).await?;
    Ok(Some(Planned {
        servers,
        image,
        configuration,
        keys,
        queue,
    }))
}

/// What gateways are told of somebody else's servers.
pub(crate) fn told(queue: &Queue) -> Option<Vec<u8>> {
    let Queue::Elsewhere { servers, replicas } = queue else {
        return None;
    };
    let queue = skep_wire::Queue {
        servers: servers.clone(),
        replicas: *replicas,
        keys: None,
    };
    serde_json::to_vec(&queue).ok()
}

/// The secret with it.
pub(crate) async fn elsewhere(
    docker: &Docker,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Option<Stored>, InstallError> {
    let Some(data) = told(&options.queue) else {
        return Ok(None);
    };
    let name = format!("{QUEUE}{}", short_digest(&data));
    if let Some(found) = find(docker, &name).await? {
        return Ok(Some(found));
    }
    secret(docker, progress, &name, "nats", &data).await.map(Some)
}

/// Brings the servers to what they should be, one after the other. Gives those that were made or updated.
pub(crate) async fn install(
    docker: &Docker,
    planned: &Planned,
    material: &Material,
    patience: Duration,
    progress: &dyn Progress,
) -> Result<Vec<String>, InstallError> {
    let mut changed = Vec::new();
    let before = services(docker).await?;
    let specs: Vec<ServiceSpec> = planned
        .servers
        .iter()
        .map(|server| {
            spec::nats(
                server,
                &planned.image,
                material,
                &planned.configuration,
                &planned.keys,
            )
        })
        .collect();
    for spec in &specs {
        let name = spec.name.clone().unwrap_or_default();
        let was_there = before.iter().any(|(own, _)| *own == name);
        if !bring(docker, &name, spec, progress).await? {
            continue;
        }
        if was_there {
            running(docker, spec, patience, progress).await?;
            sleep(REJOIN).await;
        }
        changed.push(name);
    }
    for spec in &specs {
        running(docker, spec, patience, progress).await?;
    }
    Ok(changed)
}

/// Says how much a lost node costs.
pub(crate) fn say(options: &Options, planned: Option<&Planned>, progress: &dyn Progress) {
    let text = match (&options.queue, planned) {
        (Queue::Own, _) => {
            "accepted work is kept by the gateway that took it: the loss of its node loses it \
                            (--queue nats keeps it on three nodes)"
                .to_owned()
        }
        (_, Some(planned)) if planned.servers.len() < SERVERS => format!(
            "the queue has one server, on one node: the loss of its data loses accepted work; an install on {SERVERS} \
             nodes or more makes {SERVERS}"
        ),
        _ => return,
    };
    progress.event(Event::Note { text });
}

/// Removes servers that are not wanted any longer. Their data stays on their nodes.
pub(crate) async fn remove_others(
    docker: &Docker,
    planned: Option<&Planned>,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    for (name, _) in services(docker).await? {
        let wanted = planned.is_some_and(|planned| planned.servers.iter().any(|server| server.name == name));
        if !wanted {
            swarm::remove_service(docker, &name).await?;
            material::removed(progress, "service", &name);
        }
    }
    Ok(())
}

/// The servers that there are, each with the node to which it is kept.
pub(crate) async fn services(docker: &Docker) -> Result<Vec<(String, Option<String>)>, InstallError> {
    let found = swarm::services(docker, &format!("{}=nats", skep_wire::PART)).await?;
    let mut all: Vec<_> = found
        .into_iter()
        .filter_map(|service| {
            let spec = service.spec?;
            let node = spec::node_of(&spec);
            Some((spec.name?, node))
        })
        .collect();
    all.sort();
    Ok(all)
}

async fn running(
    docker: &Docker,
    spec: &ServiceSpec,
    patience: Duration,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let name = spec.name.as_deref().unwrap_or_default();
    let digest = spec.labels.as_ref().and_then(|labels| labels.get(DIGEST));
    let digest = digest.map(String::as_str).unwrap_or_default();
    wait::running(docker, name, digest, 1, patience, progress).await
}

async fn find(docker: &Docker, name: &str) -> Result<Option<Stored>, InstallError> {
    let there = secrets(docker).await?;
    Ok(there
        .iter()
        .filter_map(of_secret)
        .find(|stored| stored.name == name))
}

/// The servers' keys, and what gateways are told; made together, by an authority whose key is thrown away.
async fn keys(
    docker: &Docker,
    names: &[String],
    progress: &dyn Progress,
) -> Result<(Stored, Stored), InstallError> {
    let there: Vec<Stored> = secrets(docker).await?.iter().filter_map(of_secret).collect();
    for keys in &there {
        let Some(generation) = keys.name.strip_prefix(SERVER_KEYS) else {
            continue;
        };
        // Half a pair is of no use: a run was cut off between the two.
        let queue = format!("{QUEUE}{}-{generation}", names.len());
        if let Some(queue) = there.iter().find(|stored| stored.name == queue) {
            return Ok((keys.clone(), queue.clone()));
        }
    }
    let authority = Authority::generate()?;
    let generation = short_digest(authority.certificate().as_bytes());
    let server = authority.member_of("nats.skep", names)?;
    let gateway = authority.member(GATEWAY_NAME)?;
    let queue = skep_wire::Queue {
        servers: names
            .iter()
            .map(|name| format!("tls://{name}:{CLIENT_PORT}"))
            .collect(),
        replicas: names.len(),
        keys: Some(Keys {
            authority: authority.certificate().to_owned(),
            certificate: gateway.certificate,
            key: gateway.key,
        }),
    };
    let queue = serde_json::to_vec(&queue).unwrap_or_default();
    // The server reads certificate, key and authority from one file.
    let pem = format!("{}{}{}", server.certificate, authority.certificate(), server.key);
    let name = format!("{SERVER_KEYS}{generation}");
    let keys = secret(docker, progress, &name, "nats", pem.as_bytes()).await?;
    let name = format!("{QUEUE}{}-{generation}", names.len());
    let queue = secret(docker, progress, &name, "nats", &queue).await?;
    Ok((keys, queue))
}

#[cfg(test)]
mod tests {
    use bollard::models::{
        NodeDescription, NodeSpec, NodeSpecAvailabilityEnum, NodeSpecRoleEnum, NodeState, NodeStatus,
    };

    use super::*;

    fn node(name: &str, role: NodeSpecRoleEnum, state: NodeState) -> Node {
        Node {
            id: Some(format!("id-{name}")),
            spec: Some(NodeSpec {
                role: Some(role),
                availability: Some(NodeSpecAvailabilityEnum::ACTIVE),
                ..NodeSpec::default()
            }),
            description: Some(NodeDescription {
                hostname: Some(name.to_owned()),
                ..NodeDescription::default()
            }),
            status: Some(NodeStatus {
                state: Some(state),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }

    fn nodes_of(servers: &[Server]) -> Vec<&str> {
        servers.iter().map(|server| server.node.as_str()).collect()
    }

    const MANAGER: NodeSpecRoleEnum = NodeSpecRoleEnum::MANAGER;
    const WORKER: NodeSpecRoleEnum = NodeSpecRoleEnum::WORKER;

    #[test]
    fn three_servers_stand_on_three_nodes_managers_first_and_one_where_there_are_fewer() {
        let all = [
            node("a", WORKER, NodeState::READY),
            node("b", MANAGER, NodeState::READY),
            node("c", WORKER, NodeState::DOWN),
            node("d", WORKER, NodeState::READY),
        ];
        assert_eq!(nodes_of(&place(&[], &all)), ["id-b", "id-a", "id-d"]);
        assert_eq!(nodes_of(&place(&[], &all[..3])), ["id-b"]);
    }

    #[test]
    fn a_server_stays_where_its_data_is_unless_the_node_has_left_the_swarm() {
        let all = [
            node("a", WORKER, NodeState::READY),
            node("b", WORKER, NodeState::DOWN),
            node("c", WORKER, NodeState::READY),
            node("d", WORKER, NodeState::READY),
        ];
        let there = [("1", "id-d"), ("2", "id-b"), ("3", "id-gone")]
            .map(|(number, node)| (format!("skep-nats-{number}"), Some(node.to_owned())));
        assert_eq!(nodes_of(&place(&there, &all)), ["id-d", "id-b", "id-a"]);
        assert_eq!(nodes_of(&place(&there[..1], &all)), ["id-d"], "one stays one");
    }
}
