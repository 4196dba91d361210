//! What can be chosen about the gateway.

use std::time::Duration;

use crate::trusted::TrustedProxies;

/// The gateway's limits. [`Config::default`] is what `skep serve` uses unless told otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: TrustedProxies,
    /// The most that a request's body may have, in bytes.
    pub max_body: u64,
    /// The most that a request's header may have, in bytes.
    pub max_header: usize,
    /// Connections at once on one listener.
    pub max_connections: usize,
    /// How long a request's header may take, and how long a connection may be kept open without a request.
    pub header_timeout: Duration,
    /// How long a request's body may pause.
    pub body_timeout: Duration,
    /// How long a caller may take nothing of what is sent to it.
    pub send_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::default(),
            max_body: 1 << 30,
            max_header: 64 * 1024,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
        }
    }
}
