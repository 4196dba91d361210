//! What is asked for: one invocation.

use std::net::IpAddr;
use std::sync::Arc;

use http::Request;
use jiff::Timestamp;
use skep_model::{Function, InvocationId, Record, Trigger};
use tokio::sync::oneshot;

use crate::body::Body;

/// One invocation, ready to be run.
pub struct Invocation {
    /// Its id.
    pub id: InvocationId,
    /// What to run.
    pub function: Arc<Function>,
    /// The invocation that caused it.
    pub parent: Option<InvocationId>,
    /// What asked for it.
    pub trigger: Trigger,
    /// When it arrived.
    pub received: Timestamp,
    /// How often it was begun, this time included.
    pub attempts: u32,
    /// Whence it came, for `REMOTE_ADDR`.
    pub client: IpAddr,
    /// The request as the function is to see it: the path without the stripped prefix (which stands in
    /// `X-Forwarded-Prefix`), hop-by-hop fields removed (an upgrade kept), `Forwarded` and its like set.
    pub request: Request<Body>,
    /// Where its record goes.
    pub report: Report,
}

/// Where the record of an invocation goes when it ends.
#[derive(Debug)]
pub enum Report {
    /// Written behind, in the journal.
    Journal,
    /// The same, but only where an instance got it. One that never started is told to whoever may give it elsewhere.
    Unstarted(oneshot::Sender<Record>),
    /// To whoever keeps it durably.
    To(oneshot::Sender<Record>),
}
