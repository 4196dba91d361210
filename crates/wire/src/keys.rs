//! A member's keys, as `skep install` keeps them in a Swarm secret, and as an agent is handed them through its
//! standard input.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who a member is, as one JSON object; each field is PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The certificate of the cluster's authority.
    pub authority: String,
    /// The member's certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// They are in no log.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}
