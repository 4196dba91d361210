//! Where gateways keep what they accept, as `skep install` keeps it in a Swarm secret.

use serde::{Deserialize, Serialize};

use crate::keys::Keys;

/// A queue that all gateways share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// NATS's servers, as `tls://HOST:PORT` or `nats://USER:PASSWORD@HOST:PORT`.
    pub servers: Vec<String>,
    /// On how many of them everything is kept.
    pub replicas: usize,
    /// By what they and the gateway know each other, where `skep install` made them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
}
