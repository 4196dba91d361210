//! What a function's children have on a node, for the gateway that holds the function's budget over all nodes, and says
//! where the next one is made (decision 092).

use serde::{Deserialize, Serialize};

/// Where gateways are asked: a [`Claim`] as JSON; the answer is 204, an [`Agreed`] where it was asked where, or 429
/// with a sentence.
pub const CLAIMS: &str = "/v1/claims";

/// Where a gateway tells which nodes hold children of a function: this, `/` and the function's name. A JSON array.
pub const HOLDERS: &str = "/v1/holders";

/// Where a gateway is asked to see to it that there is a sandbox of a function: this, `/` and the function's name. The
/// answer is 204 once there is one, or 503 with a sentence; it may take as long as the function's own timeout.
pub const WANTED: &str = "/v1/wanted";

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

impl Usage {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            children: self.children.saturating_add(other.children),
            memory: self.memory.saturating_add(other.memory),
            nano_cpus: self.nano_cpus.saturating_add(other.nano_cpus),
        }
    }
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
    /// What of it is asked for just now, by its number: what a gateway has placed elsewhere counts there.
    #[serde(default)]
    pub asking: Vec<(u64, Usage)>,
    /// Where one child is to be made, where that may be elsewhere.
    #[serde(default)]
    pub place: Option<Place>,
    /// The node that asked for what is asked for here, and its number there.
    #[serde(default)]
    pub instead: Option<(String, u64)>,
}

/// A child for which a node is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its number among what this node asks.
    pub number: u64,
    /// What it would have.
    pub wants: Usage,
    /// The function that it is made from, where it is one's.
    pub of: Option<String>,
    /// Whether its network is its function's: else any node can give it.
    pub inherits: bool,
    /// Whether the node that asks can make it at all.
    pub can: bool,
    /// Whether no other can.
    pub stays: bool,
    /// What all children of that node have together.
    pub here: Usage,
}

/// What a gateway says where it was asked where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The node that is to make the child; `None`: the one that asks.
    pub node: Option<String>,
    /// The other nodes that hold children of the function.
    pub others: Vec<String>,
}
