//! What can be chosen about the store.

use std::path::PathBuf;
use std::time::Duration;

/// How a store is opened. [`Config::in_directory`] gives the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory (`--data-dir`); made where it is missing.
    pub directory: PathBuf,
    /// The largest request body of an asynchronous invocation, in bytes.
    pub max_request_body: u64,
    /// The largest stored response body, in bytes.
    pub max_response_body: u64,
    /// How long ended invocations, records and logs are kept.
    pub keep_for: Duration,
    /// How much disk ended invocations, records and logs may use together, in bytes. What is queued or running
    /// comes on top, since it is never removed.
    pub keep_bytes: u64,
    /// How often the store looks for what need not be kept any longer.
    pub tidy_every: Duration,
}

impl Config {
    /// The defaults: bodies of 16 MiB, 7 days, 512 MiB, every minute.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_request_body: 16 << 20,
            max_response_body: 16 << 20,
            keep_for: Duration::from_secs(7 * 24 * 3600),
            keep_bytes: 512 << 20,
            tidy_every: Duration::from_secs(60),
        }
    }
}
