//! What goes with a request that its own head doesn't say.

use std::net::IpAddr;

use http::HeaderName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use skep_model::{InvocationId, Trigger};

use crate::field::Field;

/// The sandbox that an invocation is for: its container's id.
pub const SANDBOX: HeaderName = HeaderName::from_static("skep-sandbox");
/// The invocation's id.
pub const INVOCATION: HeaderName = HeaderName::from_static("skep-invocation");
/// The [`Context`], as [`Field::header`] spells it.
pub const CONTEXT: HeaderName = HeaderName::from_static("skep-context");

/// Everything about an invocation beside its request and its id. A field that a newer gateway adds is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The invocation that caused it.
    pub parent: Option<InvocationId>,
    /// What asked for it.
    pub trigger: Trigger,
    /// When the gateway got it.
    pub received: Timestamp,
    /// How often it was begun, this time included.
    pub attempts: u32,
    /// Whence it came.
    pub client: IpAddr,
}

impl Field for Context {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn context() -> Context {
        Context {
            parent: Some(InvocationId::generate()),
            trigger: Trigger::Async,
            received: "2026-01-02T03:04:05.123456789Z".parse().unwrap(),
            attempts: 2,
            client: "2001:db8::1".parse().unwrap(),
        }
    }

    #[test]
    fn a_context_is_read_as_it_was_written() {
        let sent = context();
        assert_eq!(Context::read(&sent.header()).unwrap(), sent);
    }

    #[test]
    fn what_no_gateway_wrote_is_refused() {
        for text in ["", "%", "e30", "bnVsbA"] {
            assert!(Context::read(&HeaderValue::from_static(text)).is_err(), "{text}");
        }
    }
}
