//! What can be chosen about the queue.

use std::fmt;
use std::time::Duration;

/// How a gateway makes itself known to the servers.
#[derive(Clone, Default)]
pub struct Access {
    /// The token that all parts of one cluster know.
    pub token: Option<String>,
    /// A name and a password, where the servers are somebody else's.
    pub user: Option<(String, String)>,
}

/// Never shows what is secret: it would end up in a log.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// How a queue is reached and kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose functions it is for; each namespace has streams of its own.
    pub namespace: String,
    /// The servers, as `nats://HOST:PORT`.
    pub servers: Vec<String>,
    /// How this gateway makes itself known.
    pub access: Access,
    /// On how many servers everything is kept.
    pub replicas: usize,
    /// The largest request body of an asynchronous invocation, in bytes.
    pub max_request_body: u64,
    /// The largest stored response body, in bytes.
    pub max_response_body: u64,
    /// How long ended invocations and their results are kept.
    pub keep_for: Duration,
    /// How many bytes ended invocations may take, and how many their large results.
    pub keep_bytes: u64,
    /// How long a gateway may say nothing of what it has claimed, until that is given to another.
    pub ack_wait: Duration,
    /// How often it is looked for what was left behind.
    pub sweep_every: Duration,
}

impl Config {
    /// The defaults: one replica, bodies of 16 MiB, 7 days, 512 MiB, 15 s, every minute.
    pub fn new(namespace: impl Into<String>, servers: Vec<String>) -> Self {
        Self {
            namespace: namespace.into(),
            servers,
            access: Access::default(),
            replicas: 1,
            max_request_body: 16 << 20,
            max_response_body: 16 << 20,
            keep_for: Duration::from_secs(7 * 24 * 3600),
            keep_bytes: 512 << 20,
            ack_wait: Duration::from_secs(15),
            sweep_every: Duration::from_secs(60),
        }
    }
}
