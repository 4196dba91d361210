//! What `skep install` puts onto a Swarm, and under which names its parts find it.

/// The overlay network that gateways and agents share.
pub const NETWORK: &str = "skep";
/// The service of the gateways.
pub const GATEWAY_SERVICE: &str = "skep-gateway";
/// The service whose tasks start the agents.
pub const AGENT_SERVICE: &str = "skep-agent";
/// The agent's container, on every node.
pub const AGENT_CONTAINER: &str = "skep-agent";
/// The file in a gateway's and in a launcher's task in which its [`Keys`](crate::Keys) are.
pub const KEYS_FILE: &str = "/run/secrets/skep-keys";
/// The file in a gateway's task with the accounts for private registries, where there are any: JSON, from a registry's
/// host to the engine API's `AuthConfig`.
pub const REGISTRIES_FILE: &str = "/run/secrets/skep-registries";

/// The service of a server of the queue is this with its number.
pub const NATS_SERVICE: &str = "skep-nats";
/// The file in a gateway's task that says where its queue is, JSON: [`Queue`](crate::Queue). Without it, the queue is
/// the gateway's own.
pub const QUEUE_FILE: &str = "/run/secrets/skep-queue";

/// The file in a launcher's task that is there when its agent runs.
pub const READY_FILE: &str = "/tmp/skep-agent-runs";

/// What an agent says when it answers gateways, among whatever else it says: its launcher waits for these words.
pub const AGENT_ANSWERS: &str = "answering gateways";

/// The variables that tell a part where it is.
pub mod variable {
    /// In a gateway: the name of the Swarm config that holds `pause`.
    pub const PAUSE_CONFIG: &str = "SKEP_PAUSE_CONFIG";
    /// In a gateway and in an agent: the Swarm's id of its node.
    pub const NODE: &str = "SKEP_NODE";
    /// In a gateway and in an agent: its node's name.
    pub const NODE_NAME: &str = "SKEP_NODE_NAME";
    /// In a gateway and in a launcher: the id of its Swarm task.
    pub const TASK: &str = "SKEP_TASK";
}

/// The label of everything that `skep install` made; its value is the part: `gateway`, `agent`, `pause`, `keys`,
/// `registries`, `network`, `nats`, `lease`.
pub const PART: &str = "skep.part";
