//! What goes into the queue of asynchronous invocations and what comes out of it.

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use skep_model::Record;

use crate::body::Body;
use crate::key::KeyHash;

/// A request that is kept until it is run.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path and query as it is to reach the function.
    pub path: String,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
    /// What the gateway wants back with it; the store never looks into it.
    pub context: String,
}

/// An invocation that is to be accepted.
#[derive(Debug, Clone)]
pub struct NewInvocation {
    /// What is known of it; stored as [`skep_model::Status::Queued`] with no attempt made, whatever stands there.
    pub record: Record,
    /// What is to be run.
    pub request: Request,
    /// The hash of the key that shows it: [`crate::Key::hash`].
    pub key: KeyHash,
    /// How many may wait for this function (`skep.backlog`), this one included.
    pub backlog: u64,
}

/// An invocation that was claimed and is to be run now.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What is known of it: running, and `attempts` counts this attempt.
    pub record: Record,
    /// What is to be run.
    pub request: Request,
}

/// A response that is kept for whoever asks for the result.
#[derive(Debug, Clone)]
pub struct StoredResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

/// The work that waits for one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The function's name.
    pub function: String,
    /// How many accepted invocations wait for it.
    pub queued: u64,
    /// How many of its accepted invocations run.
    pub running: u64,
    /// How many a claim may be tried for: those that wait, and where several gateways have one queue also some that
    /// run at another, which may be lost.
    pub claimable: u64,
    /// Since when the function is known to be gone, where it is.
    pub absent_since: Option<Timestamp>,
}
