//! What this host can and cannot do for Skep, and why: every check ends in a sentence for the user and, where
//! something is amiss, in what to do about it. It owns the checks; it changes nothing on the host or the engine,
//! and starts no container.

mod engine;
mod host;
mod kernel;
mod ports;
mod prune;
mod queue;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use report::{Finding, Level, Report};

/// What to look at.
#[derive(Debug, Clone)]
pub struct Config {
    /// The engine's address; `DOCKER_HOST` or the usual socket without one.
    pub docker_host: Option<String>,
    /// Where `skep serve` keeps its data.
    pub data_directory: PathBuf,
    /// The docker command's configuration file, whose prune filters are looked at.
    pub docker_config: Option<PathBuf>,
    /// The addresses that `skep serve` listens on.
    pub listeners: Vec<SocketAddr>,
}

/// Runs every check, one after the other.
pub async fn examine(config: &Config) -> Report {
    let mut report = Report::default();
    let engine = engine::examine(&mut report, config.docker_host.as_deref()).await;
    kernel::examine(&mut report);
    host::examine(&mut report, &config.data_directory, engine.as_ref());
    ports::examine(&mut report, &config.listeners).await;
    prune::examine(&mut report, config.docker_config.as_deref());
    report
}
