//! What Swarm says of its nodes: their resources, what tasks reserve of them, and what placement constraints ask about.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{Node, NodeSpecAvailabilityEnum, NodeState, Task};
use bollard::query_parameters::{InspectNetworkOptions, ListNodesOptions, ListTasksOptions};
use skep_wire::Network;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::places::Room;

/// How old what was said is at most, for as long as somebody wants to know.
const FRESH: Duration = Duration::from_secs(3);
/// How long somebody wants to know who asked once.
const INTEREST: Duration = Duration::from_secs(60);
/// How long a manager may take to say it; then what it said before is used.
const PATIENCE: Duration = Duration::from_secs(2);

/// The nodes by their id.
pub(crate) type Rooms = Arc<HashMap<String, Room>>;

/// Asks a manager, behind the back of those who want to know but for the first. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Census {
    docker: Docker,
    /// What was said last, and when somebody wanted to know it last.
    last: Arc<Mutex<Option<(Rooms, Instant)>>>,
}

impl Census {
    pub(crate) fn new(docker: Docker) -> Self {
        Self {
            docker,
            last: Arc::default(),
        }
    }

    /// Every node, as a manager told of it a few seconds ago, if it does.
    pub(crate) async fn rooms(&self) -> Rooms {
        let mut last = self.last.lock().await;
        let rooms = match last.take() {
            Some((rooms, _)) => rooms,
            None => self.asked().await.unwrap_or_default(),
        };
        *last = Some((rooms.clone(), Instant::now()));
        rooms
    }

    /// Keeps what is known fresh while somebody wants to know it, until `stop`.
    pub(crate) async fn refresh(&self, stop: CancellationToken) {
        let mut turns = interval(FRESH);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = turns.tick() => {}
            }
            let wanted = self.last.lock().await.as_ref().map(|(_, wanted)| *wanted);
            match wanted {
                Some(wanted) if wanted.elapsed() < INTEREST => {
                    let rooms = self.asked().await;
                    let mut last = self.last.lock().await;
                    if let (Some((known, _)), Some(rooms)) = (&mut *last, rooms) {
                        *known = rooms;
                    }
                }
                Some(_) => *self.last.lock().await = None,
                None => {}
            }
        }
    }

    async fn asked(&self) -> Option<Rooms> {
        match timeout(PATIENCE, self.ask()).await {
            Ok(Ok(rooms)) => Some(Arc::new(rooms)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Swarm's manager does not say what room its nodes have");
                None
            }
            Err(_) => None,
        }
    }

    /// How a node without a task on these networks joins them: it can where all are attachable. A task without any is on
    /// the engine's own bridge.
    pub(crate) async fn attachable(&self, targets: &[String]) -> Option<Network> {
        let mut names = Vec::new();
        for target in targets {
            let asked = self.docker.inspect_network(target, None::<InspectNetworkOptions>);
            let network = timeout(PATIENCE, asked).await.ok()?.ok()?;
            if network.attachable != Some(true) {
                return None;
            }
            names.push(network.name?);
        }
        let mut names = names.into_iter();
        Some(Network {
            mode: names.next().unwrap_or_else(|| "bridge".to_owned()),
            others: names.collect(),
        })
    }

    async fn ask(&self) -> Result<HashMap<String, Room>, bollard::errors::Error> {
        let running = HashMap::from([("desired-state".to_owned(), vec!["running".to_owned()])]);
        let tasks = ListTasksOptions {
            filters: Some(running),
        };
        let (nodes, tasks) = tokio::try_join!(
            self.docker.list_nodes(None::<ListNodesOptions>),
            self.docker.list_tasks(Some(tasks))
        )?;
        Ok(read(nodes, tasks))
    }
}

fn positive(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn read(nodes: Vec<Node>, tasks: Vec<Task>) -> HashMap<String, Room> {
    let nodes = nodes
        .into_iter()
        .filter_map(|node| Some((node.id.clone()?, room(node))));
    let mut rooms: HashMap<String, Room> = nodes.collect();
    for task in tasks {
        let reserved = task.spec.and_then(|spec| spec.resources?.reservations);
        let room = task.node_id.and_then(|node| rooms.get_mut(&node));
        if let (Some(reserved), Some(room)) = (reserved, room) {
            room.memory = room.memory.saturating_sub(positive(reserved.memory_bytes));
            room.nano_cpus = room.nano_cpus.saturating_sub(positive(reserved.nano_cpus));
        }
    }
    rooms
}

fn room(node: Node) -> Room {
    let spec = node.spec.unwrap_or_default();
    let is_ready = node.status.and_then(|status| status.state) == Some(NodeState::READY);
    let description = node.description.unwrap_or_default();
    let resources = description.resources.unwrap_or_default();
    let platform = description.platform.unwrap_or_default();
    let mut attributes = BTreeMap::from([
        ("node.id".to_owned(), node.id.unwrap_or_default()),
        (
            "node.hostname".to_owned(),
            description.hostname.unwrap_or_default(),
        ),
        (
            "node.role".to_owned(),
            spec.role.map(|role| role.to_string()).unwrap_or_default(),
        ),
        ("node.platform.os".to_owned(), platform.os.unwrap_or_default()),
        (
            "node.platform.arch".to_owned(),
            platform.architecture.unwrap_or_default(),
        ),
    ]);
    let labels = spec.labels.unwrap_or_default().into_iter();
    attributes.extend(labels.map(|(name, value)| (format!("node.labels.{name}"), value)));
    let engine = description.engine.and_then(|engine| engine.labels);
    let engine = engine.unwrap_or_default().into_iter();
    attributes.extend(engine.map(|(name, value)| (format!("engine.labels.{name}"), value)));
    Room {
        attributes,
        active: is_ready && spec.availability == Some(NodeSpecAvailabilityEnum::ACTIVE),
        memory: positive(resources.memory_bytes),
        nano_cpus: positive(resources.nano_cpus),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_tasks_reserve_is_no_room() {
        let nodes = json!([{
            "ID": "n", "Spec": { "Role": "manager", "Availability": "active", "Labels": { "disk": "ssd" } },
            "Description": {
                "Hostname": "one", "Platform": { "Architecture": "x86_64", "OS": "linux" },
                "Resources": { "NanoCPUs": 2_000_000_000_u64, "MemoryBytes": 1000 },
                "Engine": { "Labels": { "rack": "7" } },
            },
            "Status": { "State": "ready" },
        }]);
        let task = |node: &str| {
            json!({
                "NodeID": node,
                "Spec": { "Resources": { "Reservations": { "NanoCPUs": 500_000_000, "MemoryBytes": 300 } } },
            })
        };
        let tasks = json!([task("n"), task("n"), task("other"), { "NodeID": "n", "Spec": {} }]);
        let rooms = read(
            serde_json::from_value(nodes).unwrap(),
            serde_json::from_value(tasks).unwrap(),
        );
        let room = &rooms["n"];
        assert_eq!(
            (room.memory, room.nano_cpus, room.active),
            (400, 1_000_000_000, true)
        );
        for (key, value) in [
            ("node.hostname", "one"),
            ("node.role", "manager"),
            ("node.labels.disk", "ssd"),
            ("engine.labels.rack", "7"),
            ("node.platform.arch", "x86_64"),
        ] {
            assert_eq!(room.attributes[key], value);
        }
    }
}
