//! What can be chosen about the queue.

use std::fmt;
use std::time::Duration;

/// How a queue is reached and kept.
#[derive(Clone)]
pub struct Config {
    /// Whose functions it is for; each namespace has streams of its own.
    pub namespace: String,
    /// The servers, as `nats://HOST:PORT`, where need be with a name and a password, or `tls://HOST:PORT`.
    pub servers: Vec<String>,
    /// By what the servers are known and know this gateway; the system's own authorities without it.
    pub tls: Option<rustls::ClientConfig>,
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

/// Never shows the servers: they may have passwords, which would end up in a log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("namespace", &self.namespace)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The defaults: one replica, bodies of 16 MiB, 7 days, 512 MiB, 15 s, every minute.
    pub fn new(namespace: impl Into<String>, servers: Vec<String>) -> Self {
        Self {
            namespace: namespace.into(),
            servers,
            tls: None,
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
