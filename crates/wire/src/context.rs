//! What goes with a request that its own head doesn't say.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use skep_model::{InvocationId, Trigger};

/// The sandbox that an invocation is for: its container's id.
pub const SANDBOX: HeaderName = HeaderName::from_static("skep-sandbox");
/// The invocation's id.
pub const INVOCATION: HeaderName = HeaderName::from_static("skep-invocation");
/// The [`Context`], as [`Context::header`] spells it.
pub const CONTEXT: HeaderName = HeaderName::from_static("skep-context");

/// Everything about an invocation beside its request and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// A field that no gateway wrote.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It isn't base64.
    #[error("the field {CONTEXT} is not base64: {0}")]
    Encoding(#[from] base64::DecodeError),
    /// It isn't what a gateway of this version writes.
    #[error("the field {CONTEXT} is not an invocation's context: {0}")]
    Json(#[from] serde_json::Error),
}

impl Context {
    /// The value of the field [`CONTEXT`].
    pub fn header(&self) -> HeaderValue {
        let json = serde_json::to_vec(self).unwrap_or_default();
        HeaderValue::try_from(STANDARD_NO_PAD.encode(json)).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Reads such a value.
    ///
    /// # Errors
    /// It is none.
    pub fn read(value: &HeaderValue) -> Result<Self, ContextError> {
        Ok(serde_json::from_slice(
            &STANDARD_NO_PAD.decode(value.as_bytes())?,
        )?)
    }
}

#[cfg(test)]
mod tests {
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
