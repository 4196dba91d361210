//! Who makes a call that an agent brings to a gateway: the agent has seen where the connection comes from.

use std::net::IpAddr;

use http::HeaderName;
use serde::{Deserialize, Serialize};
use skep_model::InvocationId;

use crate::field::Field;

/// The [`Caller`], as [`Field::header`] spells it.
pub const CALLER: HeaderName = HeaderName::from_static("skep-caller");

/// A function's instance that calls another function, as its node's agent vouches for it. A field that a newer
/// agent adds is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The invocation that calls, where it is known.
    pub parent: Option<InvocationId>,
    /// The address that it calls from.
    pub address: IpAddr,
    /// The port that it calls, on its node.
    pub port: u16,
}

impl Field for Caller {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_caller_is_read_as_it_was_written() {
        let caller = Caller {
            parent: Some(InvocationId::generate()),
            address: "fd00::1".parse().unwrap(),
            port: 61_082,
        };
        assert_eq!(Caller::read(&caller.header()).unwrap(), caller);
        assert!(Caller::read(&HeaderValue::from_static("e30")).is_err());
    }
}
