//! `skep agent`: its flags, each also an environment variable where `skep install` sets it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skep_model::{Namespace, label};

use super::{EngineDefault, LogFormat};
use crate::environment;

/// The flags of `skep agent`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Agent {
    /// Where gateways are answered
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4190", value_parser = super::address)]
    pub(crate) listen: SocketAddr,

    /// Which functions' sandboxes are looked after: those with this `skep.namespace`
    #[arg(long, value_name = "NAME", env = environment::NAMESPACE, default_value = "default")]
    pub(crate) namespace: Namespace,

    /// The Swarm's id of this node [default: as its engine says]
    #[arg(long, value_name = "ID", env = skep_wire::variable::NODE)]
    pub(crate) node: Option<String>,

    /// This node's name [default: as its engine says]
    #[arg(long, value_name = "NAME", env = skep_wire::variable::NODE_NAME)]
    pub(crate) node_name: Option<String>,

    /// A file with the agent's keys [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub(crate) keys_file: Option<PathBuf>,

    /// Where records and logs are kept
    #[arg(long, value_name = "DIRECTORY", env = environment::DATA_DIR, default_value = "/var/lib/skep")]
    pub(crate) data_dir: PathBuf,

    /// The engine: unix:///path
    #[arg(long, value_name = "URL", env = environment::DOCKER_HOST)]
    pub(crate) docker_host: Option<String>,

    /// Which engine runs functions that name none
    #[arg(long, value_enum, value_name = "ENGINE", env = environment::ENGINE, default_value = "auto")]
    pub(crate) engine: EngineDefault,

    /// How long the first signal lets running work go on; a second signal ends it at once
    #[arg(long, value_name = "TIME", env = environment::DRAIN_TIMEOUT, default_value = "10m",
        value_parser = label::duration)]
    pub(crate) drain_timeout: Duration,

    /// How often everything is listed anew, besides watching Docker's events
    #[arg(long, value_name = "TIME", env = environment::RELIST, default_value = "30s",
        value_parser = label::duration)]
    pub(crate) relist: Duration,

    /// How long records and logs are kept
    #[arg(long, value_name = "TIME", env = environment::KEEP_FOR, default_value = "168h",
        value_parser = label::duration)]
    pub(crate) keep_for: Duration,

    /// How much disk records and logs may take
    #[arg(long, value_name = "BYTES", env = environment::KEEP_BYTES, default_value = "512m",
        value_parser = label::bytes)]
    pub(crate) keep_bytes: u64,

    /// What is logged: error, warn, info, debug, trace, or filters such as skep_agent=debug
    #[arg(long, value_name = "FILTER", env = environment::LOG, default_value = "info")]
    pub(crate) log: String,

    /// How it is logged
    #[arg(long, value_enum, value_name = "FORMAT", env = environment::LOG_FORMAT, default_value = "text")]
    pub(crate) log_format: LogFormat,
}
