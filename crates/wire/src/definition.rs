//! What the container of a sandbox carries in its labels: all that a node's agent knows of the function.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The labels of a sandbox's container.
pub mod label {
    /// The function's name: the mark of a sandbox.
    pub const SANDBOX: &str = "skep.sandbox";
    /// The function's namespace.
    pub const NAMESPACE: &str = "skep.namespace";
    /// The [`Definition`](super::Definition) as JSON.
    pub const DEFINITION: &str = "skep.definition";
    /// On the service: the id of the function's service.
    pub const SANDBOX_OF: &str = "skep.sandbox-of";
}

/// The function behind a sandbox, as far as its container doesn't say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The digest of the definition.
    pub revision: String,
    /// The function's service.
    pub service: String,
    /// That service's name.
    pub service_name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The entrypoint that `pause` stands in for; `None`: the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments; `None`: the image's.
    pub arguments: Option<Vec<String>>,
    /// The slots for which the container's limits were multiplied.
    pub slots: u32,
    /// The memory limit of one instance in bytes, as the function's service has it; `None`: none.
    pub memory: Option<u64>,
    /// The CPU limit of one instance in billionths of a core; `None`: none.
    pub nano_cpus: Option<u64>,
    /// The limit of processes of one instance; `None`: none.
    pub pids: Option<u64>,
    /// Whether an instance gets an init process; `None`: as the node's engine is set up. The sandbox itself never has
    /// one, which would end `pause` with the first SIGTERM.
    #[serde(default)]
    pub init: Option<bool>,
}
