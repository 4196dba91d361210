//! What a function's children have on a node, for the gateway that holds the function's budget over all nodes
//! (decision 092).

use serde::{Deserialize, Serialize};

/// Where gateways are asked: a [`Claim`] as JSON; the answer is 204, or 429 with a sentence.
pub const CLAIMS: &str = "/v1/claims";

/// What children have, or may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How many live.
    pub children: u64,
    /// Their memory in bytes.
    pub memory: u64,
    /// Their CPUs, in billionths.
    pub nano_cpus: u64,
}

/// All that a function has on a node; with what it may have on all of them it is a question, and what is asked for is
/// counted already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The Swarm's id of the node.
    pub node: String,
    /// A later one has no smaller number.
    pub sequence: u64,
    /// The function.
    pub function: String,
    /// What it has there.
    pub usage: Usage,
    /// What it may have everywhere together.
    pub limits: Option<Usage>,
}
