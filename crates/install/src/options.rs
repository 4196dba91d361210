//! What an operator may choose.

use std::path::PathBuf;
use std::time::Duration;

/// How many gateways there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateways {
    /// One on every manager that may run one.
    All,
    /// So many, never two on one node.
    Count(u32),
}

/// How the public port is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// On the nodes that run a gateway, which see their clients' addresses.
    Host,
    /// On every node, through Swarm's routing mesh, which hides them.
    Ingress,
}

/// Where gateways keep what they accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queue {
    /// In NATS servers that `skep install` puts on the Swarm, from this image.
    Nats {
        /// The image.
        image: String,
    },
    /// In somebody else's NATS servers.
    Elsewhere {
        /// Their addresses.
        servers: Vec<String>,
        /// On how many of them everything is kept.
        replicas: usize,
    },
    /// Each gateway for itself, on its node.
    Own,
}

/// Everything that `skep install` may be told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The image of Skep.
    pub image: String,
    /// Whether accounts at registries are taken along.
    pub registry_auth: bool,
    /// The folder with the docker command's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// The namespace of the functions.
    pub namespace: String,
    /// The public port.
    pub port: u16,
    /// How it is reached.
    pub publish: Publish,
    /// How many gateways.
    pub gateways: Gateways,
    /// Where gateways may run besides: Swarm's placement constraints.
    pub constraints: Vec<String>,
    /// Where they keep what they accept.
    pub queue: Queue,
    /// Variables for gateways and agents, `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Where agents keep their data on each node.
    pub data: String,
    /// How long a part that is told to end may take for what runs.
    pub drain: Duration,
    /// How long everything may take to run.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            image: "skep:latest".to_owned(),
            registry_auth: false,
            docker_config: None,
            namespace: "default".to_owned(),
            port: 8080,
            publish: Publish::Host,
            gateways: Gateways::All,
            constraints: Vec::new(),
            queue: Queue::Own,
            environment: Vec::new(),
            data: "/var/lib/skep".to_owned(),
            drain: Duration::from_secs(600),
            patience: Duration::from_secs(300),
        }
    }
}

/// What `skep uninstall` may be told.
#[derive(Debug, Clone)]
pub struct UninstallOptions {
    /// Whether records, logs and what was accepted go, too.
    pub data: bool,
    /// Where agents keep their data on each node.
    pub data_dir: String,
    /// How long everything may take to end.
    pub patience: Duration,
}
