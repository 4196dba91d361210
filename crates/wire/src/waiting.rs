//! What waits at a gateway for room in a sandbox: told to one agent, which shows it to every gateway with its picture, so
//! that the one that scales knows of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where an agent is told of it: a [`Waiting`] as JSON; the answer is 204.
pub const WAITING: &str = "/v1/waiting";

/// Those who wait at one gateway. A later word replaces the earlier; one that is not repeated is soon forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The gateway's own name, which no other has.
    pub gateway: String,
    /// Whose functions they wait for.
    pub namespace: String,
    /// How many, by function; none are left out.
    pub functions: BTreeMap<String, u32>,
}
