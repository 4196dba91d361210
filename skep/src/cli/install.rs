//! `skep install` and what belongs to it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_install::Gateways;
use skep_model::{Namespace, label};

use super::Docker;
use crate::environment;

/// How the public port is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Publish {
    /// On the nodes that run a gateway, which see their clients' addresses
    Host,
    /// On every node, through Swarm's routing mesh, which hides them
    Ingress,
}

/// Where gateways keep what they accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueueKind {
    /// In NATS servers on three nodes, which `skep install` puts there: a lost node loses nothing
    Nats,
    /// Each gateway for itself, on its own node
    Sqlite,
}

/// `skep install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The image of Skep, as every node can pull it
    #[arg(long, value_name = "IMAGE", default_value = "skep:latest")]
    pub(crate) image: String,

    /// Take the accounts at registries along that `docker login` left here: for Skep's image, and for functions'
    #[arg(long)]
    pub(crate) registry_auth: bool,

    /// The port on which requests are taken
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,

    /// How that port is reached
    #[arg(long, value_enum, value_name = "WAY", default_value = "host")]
    pub(crate) publish: Publish,

    /// How many gateways: a number, or one on every manager
    #[arg(long, value_name = "NUMBER|all", default_value = "all", value_parser = gateways)]
    pub(crate) gateways: Gateways,

    /// Which managers run gateways, as a placement constraint such as node.labels.edge==true; may be given several
    /// times
    #[arg(long = "constraint", value_name = "CONSTRAINT")]
    pub(crate) constraints: Vec<String>,

    /// Where gateways keep the asynchronous work that they accept
    #[arg(long, value_enum, value_name = "KIND", env = environment::QUEUE, default_value = "nats")]
    pub(crate) queue: QueueKind,

    /// The image of the queue's servers: NATS 2.10.23 or newer
    #[arg(long, value_name = "IMAGE", env = environment::NATS_IMAGE, default_value = "nats:2.10-alpine")]
    pub(crate) nats_image: String,

    /// NATS servers of your own instead, with commas: tls://USER:PASSWORD@HOST:4222
    #[arg(long, value_name = "URLS", value_delimiter = ',', conflicts_with = "queue")]
    pub(crate) nats: Vec<String>,

    /// On how many of your own servers everything is kept
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "nats")]
    pub(crate) nats_replicas: u16,

    /// A variable for gateways and agents, such as SKEP_ENGINE=docker; may be given several times
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) environment: Vec<String>,

    /// The namespace of the functions
    #[arg(long, value_name = "NAME", env = environment::NAMESPACE, default_value = "default")]
    pub(crate) namespace: Namespace,

    /// Where agents keep their data on each node
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/skep")]
    pub(crate) node_data: PathBuf,

    /// How long a gateway or agent that is told to end lets running work go on
    #[arg(long, value_name = "TIME", env = environment::DRAIN_TIMEOUT, default_value = "10m",
        value_parser = label::duration)]
    pub(crate) drain_timeout: Duration,

    /// How long to wait for everything to run
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = label::duration)]
    pub(crate) wait: Duration,

    /// Install nothing: write a stack file, and the keys that go with it, into this folder
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) write_stack: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) docker: Docker,
}

/// `skep uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Remove records, logs and what was accepted and did not run yet, too
    #[arg(long)]
    pub(crate) data: bool,

    /// Where agents keep their data on each node
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/skep")]
    pub(crate) node_data: PathBuf,

    /// How long to wait for running work to end
    #[arg(long, value_name = "TIME", default_value = "11m", value_parser = label::duration)]
    pub(crate) wait: Duration,

    #[command(flatten)]
    pub(crate) docker: Docker,
}

/// `skep launcher`.
#[derive(Debug, Args)]
pub(crate) struct Launcher {
    /// Where the agent keeps its data
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/lib/skep")]
    pub(crate) data: String,

    /// How long the agent may take to end what runs
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = label::duration)]
    pub(crate) drain: Duration,

    /// A variable for the agent
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) environment: Vec<String>,

    /// Remove what a launcher left behind on this node, and end
    #[arg(long)]
    pub(crate) leave: bool,

    /// With --leave: remove this volume, too
    #[arg(long = "volume", value_name = "NAME", requires = "leave")]
    pub(crate) volumes: Vec<String>,

    /// With --leave: remove this folder, too
    #[arg(long, value_name = "DIRECTORY", requires = "leave")]
    pub(crate) remove: Option<PathBuf>,
}

fn gateways(text: &str) -> Result<Gateways, String> {
    if text == "all" {
        return Ok(Gateways::All);
    }
    let count = text.parse().ok().filter(|count| *count > 0);
    count
        .map(Gateways::Count)
        .ok_or_else(|| "must be a number above zero, or all".to_owned())
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}
