//! What a gateway and an agent say to each other on a Swarm, as types: the fields of an invocation on its way, an
//! agent's picture of its node, what a sandbox's container carries so that an agent needs nothing else. It owns the
//! spelling of all that (decision 090); it opens no connection and decides nothing.
//!
//! While an upgrade runs, members of two versions speak to each other. So what is sent carries no version: fields are
//! only ever added, each with a default, and one that is not known is passed over; a path or word that is not known is
//! answered with 4xx, and no connection ends by it. `tests/versions.rs` holds all messages to that.

mod caller;
mod claim;
mod context;
mod definition;
mod field;
mod keys;
mod objects;
mod outcome;
mod own;
mod picture;
mod queue;
mod refusal;
mod visit;
mod waiting;

pub use caller::{CALLER, Caller};
pub use claim::{Agreed, CLAIMS, Claim, HOLDERS, Place, Usage, WANTED};
pub use context::{CONTEXT, Context, INVOCATION, SANDBOX};
pub use definition::{Definition, label};
pub use field::{Field, FieldError};
pub use keys::Keys;
pub use objects::{
    AGENT_ANSWERS, AGENT_CONTAINER, AGENT_SERVICE, GATEWAY_SERVICE, KEYS_FILE, NATS_SERVICE, NETWORK, PART,
    QUEUE_FILE, READY_FILE, REGISTRIES_FILE, variable,
};
pub use outcome::{OUTCOME, Outcome};
pub use own::{disown_answer, disown_request};
pub use picture::{NodePicture, SandboxPicture};
pub use queue::Queue;
pub use refusal::{NOT_STARTED, NotStarted, PROBLEM};
pub use visit::{Making, Network, VISIT, Visit, Visitor};
pub use waiting::{WAITING, Waiting};

/// The port on which agents listen, in the network that they share with the gateways.
pub const AGENT_PORT: u16 = 4190;
/// The name in an agent's certificate.
pub const AGENT_NAME: &str = "agent.skep";
/// The name in a gateway's certificate.
pub const GATEWAY_NAME: &str = "gateway.skep";
/// The alias under which agents are found in that network.
pub const AGENTS_ALIAS: &str = "skep-agents";
/// Where a gateway tells agents the names of all functions that are deployed: a JSON array.
pub const NAMES: &str = "/v1/names";
/// The port on which gateways answer agents, in the same network.
pub const GATEWAY_PORT: u16 = 4191;
/// The alias under which gateways are found there.
pub const GATEWAYS_ALIAS: &str = "skep-gateways";
