//! `skep gateway`: its flags, each also an environment variable where `skep install` sets it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skep_model::{Namespace, label};

use super::LogFormat;
use crate::environment;

/// The flags of `skep gateway`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Gateway {
    /// Where requests are taken
    #[arg(long, value_name = "ADDRESS:PORT", env = environment::LISTEN, default_value = "127.0.0.1:8080",
        value_parser = super::address)]
    pub(crate) listen: SocketAddr,

    /// Where operators look and Prometheus reads; beyond loopback only with a token
    #[arg(long, value_name = "ADDRESS:PORT", env = environment::CONTROL, default_value = "127.0.0.1:8081",
        value_parser = super::address)]
    pub(crate) control: SocketAddr,

    /// Further host names under which the control listener is known, with commas
    #[arg(long, value_name = "NAMES", env = environment::CONTROL_NAMES, value_delimiter = ',')]
    pub(crate) control_names: Vec<String>,

    /// A file with the token that control requests must carry
    #[arg(long, value_name = "FILE", env = environment::CONTROL_TOKEN_FILE)]
    pub(crate) control_token_file: Option<PathBuf>,

    /// Which functions are served: those with this `skep.namespace`
    #[arg(long, value_name = "NAME", env = environment::NAMESPACE, default_value = "default")]
    pub(crate) namespace: Namespace,

    /// Where agents are found: host names or addresses with their port, with commas
    #[arg(
        long,
        value_name = "HOSTS:PORT",
        default_value = "skep-agents:4190",
        value_delimiter = ','
    )]
    pub(crate) agents: Vec<String>,

    /// The gateway's keys
    #[arg(long, value_name = "FILE", default_value = skep_wire::KEYS_FILE)]
    pub(crate) keys_file: PathBuf,

    /// The name of this gateway's Swarm task, which no other has [default: one made up]
    #[arg(long, value_name = "ID", env = skep_wire::variable::TASK)]
    pub(crate) task: Option<String>,

    /// This node's name [default: as its engine says]
    #[arg(long, value_name = "NAME", env = skep_wire::variable::NODE_NAME)]
    pub(crate) node_name: Option<String>,

    /// The Swarm config that holds `pause` [default: one of the gateway's own]
    #[arg(long, value_name = "NAME", env = skep_wire::variable::PAUSE_CONFIG)]
    pub(crate) pause_config: Option<String>,

    /// Where records and accepted invocations are kept
    #[arg(long, value_name = "DIRECTORY", env = environment::DATA_DIR, default_value = "/var/lib/skep")]
    pub(crate) data_dir: PathBuf,

    /// A manager's engine: unix:///path or tcp://host:port
    #[arg(long, value_name = "URL", env = environment::DOCKER_HOST)]
    pub(crate) docker_host: Option<String>,

    /// Networks (CIDR, with commas) whose Forwarded and X-Forwarded-* fields are believed
    #[arg(long, value_name = "CIDRS", env = environment::TRUSTED_PROXIES, value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<String>,

    /// The largest body of a request, such as 64m [default: 1g; asynchronous ones 16m]
    #[arg(long, value_name = "BYTES", env = environment::MAX_BODY, value_parser = label::bytes)]
    pub(crate) max_body: Option<u64>,

    /// How long the first signal lets running work go on; a second signal ends it at once
    #[arg(long, value_name = "TIME", env = environment::DRAIN_TIMEOUT, default_value = "10m",
        value_parser = label::duration)]
    pub(crate) drain_timeout: Duration,

    /// How often everything is listed anew, besides watching the Swarm's events
    #[arg(long, value_name = "TIME", env = environment::RELIST, default_value = "30s",
        value_parser = label::duration)]
    pub(crate) relist: Duration,

    /// How long records and results are kept
    #[arg(long, value_name = "TIME", env = environment::KEEP_FOR, default_value = "168h",
        value_parser = label::duration)]
    pub(crate) keep_for: Duration,

    /// How much disk ended invocations and their results may take
    #[arg(long, value_name = "BYTES", env = environment::KEEP_BYTES, default_value = "512m",
        value_parser = label::bytes)]
    pub(crate) keep_bytes: u64,

    /// What is logged: error, warn, info, debug, trace, or filters such as skep_cluster=debug
    #[arg(long, value_name = "FILTER", env = environment::LOG, default_value = "info")]
    pub(crate) log: String,

    /// How it is logged
    #[arg(long, value_enum, value_name = "FORMAT", env = environment::LOG_FORMAT, default_value = "text")]
    pub(crate) log_format: LogFormat,
}
