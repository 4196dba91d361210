//! The limits of a node, as plain data.

use std::time::Duration;

/// What a node allows its instances and its callers.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of memory that all instances together may be promised: the sum of their limits stays below it.
    pub memory_budget: u64,
    /// Bytes counted for an instance whose template sets no limit.
    pub assumed_memory: u64,
    /// Callers that may wait on this node, all functions together.
    pub queue: usize,
    /// Launches that the engine is given at once.
    pub concurrent_starts: usize,
    /// Removals that the engine is given at once.
    pub concurrent_removals: usize,
    /// A reused instance is frozen after this long without work.
    pub freeze_after: Duration,
    /// A fresh instance that nobody took (its caller went away) is kept this long.
    pub surplus_after: Duration,
    /// Bytes of log kept for one invocation; what is beyond is counted and dropped.
    pub log_limit: u64,
    /// An instance that listens elsewhere, and not where it should, for this long is given up.
    pub elsewhere_after: Duration,
}

impl Config {
    /// A node with this memory budget and the ordinary limits.
    pub fn new(memory_budget: u64) -> Self {
        Self {
            memory_budget,
            assumed_memory: 128 << 20,
            queue: 10_000,
            concurrent_starts: 8,
            concurrent_removals: 8,
            freeze_after: Duration::from_secs(2),
            surplus_after: Duration::from_secs(10),
            log_limit: 1 << 20,
            elsewhere_after: Duration::from_millis(1500),
        }
    }
}
