//! Flags of more than one verb, each spelled once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_model::{EngineChoice, Namespace, label};

use crate::environment;

/// How log lines look on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a function gets whose template says `skep.engine=auto`, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineDefault {
    /// Lean where it gives what the template asks for, else docker
    Auto,
    /// Lean; a function that it can't run identically is invalid
    Lean,
    /// A Docker container each
    Docker,
}

impl From<EngineDefault> for EngineChoice {
    fn from(default: EngineDefault) -> Self {
        match default {
            EngineDefault::Auto => Self::Auto,
            EngineDefault::Lean => Self::Lean,
            EngineDefault::Docker => Self::Docker,
        }
    }
}

/// Which engine is spoken to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Docker {
    /// The engine, on a Swarm a manager's: unix:///path or tcp://host:port
    #[arg(long = "docker-host", value_name = "URL", env = environment::DOCKER_HOST)]
    pub(crate) host: Option<String>,
}

/// Where the listeners of `skep serve` are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Addresses {
    /// Where requests are taken
    #[arg(long, value_name = "ADDRESS:PORT", env = environment::LISTEN, default_value = "127.0.0.1:8080",
        value_parser = super::address)]
    pub(crate) listen: SocketAddr,

    /// Where operators look and Prometheus reads; beyond loopback only with a token
    #[arg(long, value_name = "ADDRESS:PORT", env = environment::CONTROL, default_value = "127.0.0.1:8081",
        value_parser = super::address)]
    pub(crate) control: SocketAddr,
}

/// What every part that runs until a signal has.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Which functions are managed: those with this `skep.namespace`
    #[arg(long, value_name = "NAME", env = environment::NAMESPACE, default_value = "default")]
    pub(crate) namespace: Namespace,

    /// Where records, logs and accepted invocations are kept
    #[arg(long, value_name = "DIRECTORY", env = environment::DATA_DIR, default_value = "/var/lib/skep")]
    pub(crate) data_dir: PathBuf,

    #[command(flatten)]
    pub(crate) docker: Docker,

    /// How long the first signal lets running work go on; a second signal ends it at once
    #[arg(long, value_name = "TIME", env = environment::DRAIN_TIMEOUT, default_value = "10m",
        value_parser = label::duration)]
    pub(crate) drain_timeout: Duration,

    /// How often everything is listed anew, besides watching Docker's events
    #[arg(long, value_name = "TIME", env = environment::RELIST, default_value = "30s",
        value_parser = label::duration)]
    pub(crate) relist: Duration,

    /// How long records, logs and results are kept
    #[arg(long, value_name = "TIME", env = environment::KEEP_FOR, default_value = "168h",
        value_parser = label::duration)]
    pub(crate) keep_for: Duration,

    /// How much disk ended invocations, their logs and results may take
    #[arg(long, value_name = "BYTES", env = environment::KEEP_BYTES, default_value = "512m",
        value_parser = label::bytes)]
    pub(crate) keep_bytes: u64,

    /// What is logged: error, warn, info, debug, trace, or filters such as skep_docker=debug
    #[arg(long, value_name = "FILTER", env = environment::LOG, default_value = "info")]
    pub(crate) log: String,

    /// How it is logged
    #[arg(long, value_enum, value_name = "FORMAT", env = environment::LOG_FORMAT, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// What everything has that makes instances.
#[derive(Debug, Clone, Args)]
pub(crate) struct Making {
    /// Which engine runs functions that name none: the best that gives what a template asks for, or always this one
    #[arg(long, value_enum, value_name = "ENGINE", env = environment::ENGINE, default_value = "auto")]
    pub(crate) engine: EngineDefault,

    /// How long flattened layers that nobody needs are kept
    #[arg(long, value_name = "TIME", env = environment::KEEP_LAYERS, default_value = "30s",
        value_parser = label::duration)]
    pub(crate) keep_layers: Duration,
}

/// What everything has that takes requests from outside.
#[derive(Debug, Clone, Args)]
pub(crate) struct Listeners {
    #[command(flatten)]
    pub(crate) addresses: Addresses,

    /// Further host names under which the control listener is known, with commas
    #[arg(long, value_name = "NAMES", env = environment::CONTROL_NAMES, value_delimiter = ',')]
    pub(crate) control_names: Vec<String>,

    /// A file with the token that control requests must carry
    #[arg(long, value_name = "FILE", env = environment::CONTROL_TOKEN_FILE)]
    pub(crate) control_token_file: Option<PathBuf>,

    /// Networks (CIDR, with commas) whose Forwarded and X-Forwarded-* fields are believed
    #[arg(long, value_name = "CIDRS", env = environment::TRUSTED_PROXIES, value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<String>,

    /// The largest body of a request, such as 64m [default: 1g; asynchronous ones 16m]
    #[arg(long, value_name = "BYTES", env = environment::MAX_BODY, value_parser = label::bytes)]
    pub(crate) max_body: Option<u64>,
}
