//! `skep agent`: its flags, each also an environment variable where `skep install` sets it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Common, Making};

/// The flags of `skep agent`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Agent {
    /// Where gateways are answered
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4190", value_parser = super::address)]
    pub(crate) listen: SocketAddr,

    /// Where gateways are found, that take the calls of functions: host names or addresses with their port, with commas
    #[arg(
        long,
        value_name = "HOSTS:PORT",
        default_value = "skep-gateways:4191",
        value_delimiter = ','
    )]
    pub(crate) gateways: Vec<String>,

    /// The Swarm's id of this node [default: as its engine says]
    #[arg(long, value_name = "ID", env = skep_wire::variable::NODE)]
    pub(crate) node: Option<String>,

    /// This node's name [default: as its engine says]
    #[arg(long, value_name = "NAME", env = skep_wire::variable::NODE_NAME)]
    pub(crate) node_name: Option<String>,

    /// A file with the agent's keys [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub(crate) keys_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) making: Making,

    #[command(flatten)]
    pub(crate) common: Common,
}
