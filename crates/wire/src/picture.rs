//! What there is on a node, as its agent tells every gateway.

use serde::{Deserialize, Serialize};

use crate::claim::Usage;
use crate::waiting::Waiting;

/// A whole node. Each line of `/v1/watch` is one; a later one replaces the earlier. A field that a newer agent adds is
/// passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePicture {
    /// The Swarm's id of the node.
    pub node: String,
    /// Its name.
    pub hostname: String,
    /// The engine that makes instances there: `lean` or `docker`.
    pub engine: String,
    /// Why it isn't a better one; each reason is a sentence for the operator.
    pub fallback: Vec<String>,
    /// The sandboxes there.
    pub sandboxes: Vec<SandboxPicture>,
    /// What all functions' children there have together.
    #[serde(default)]
    pub children: Usage,
    /// What gateways told of those who wait there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
}

/// One sandbox, and how much room there is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPicture {
    /// Its container's id.
    pub id: String,
    /// The id of its Swarm task.
    pub task: String,
    /// The id of the function's service.
    pub service: String,
    /// The function's name.
    pub function: String,
    /// The function's namespace.
    pub namespace: String,
    /// The function's revision.
    pub revision: String,
    /// How many instances may run in it at once: the task's share of `skep.max`.
    pub slots: u32,
    /// Invocations that run in it, or wait for an instance there.
    pub running: u32,
    /// Invocations that would get an instance which is ready, at once.
    pub idle: u32,
    /// Whether it takes nothing more.
    pub draining: bool,
    /// Whether it can run but one instance at a time, which the function's image may be the reason for: a node knows the
    /// image, a manager does not.
    #[serde(default)]
    pub alone: bool,
    /// Why the node can't run the function, each a sentence for the operator; empty where it can.
    #[serde(default)]
    pub reasons: Vec<String>,
}
