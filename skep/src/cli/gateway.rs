//! `skep gateway`: its flags, each also an environment variable where `skep install` sets it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Common, Listeners};

/// The flags of `skep gateway`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Gateway {
    #[command(flatten)]
    pub(crate) listeners: Listeners,

    /// Where agents are found: host names or addresses with their port, with commas
    #[arg(
        long,
        value_name = "HOSTS:PORT",
        default_value = "skep-agents:4190",
        value_delimiter = ','
    )]
    pub(crate) agents: Vec<String>,

    /// Where agents are answered, that bring the calls of functions
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4191", value_parser = super::address)]
    pub(crate) calls: SocketAddr,

    /// The gateway's keys
    #[arg(long, value_name = "FILE", default_value = skep_wire::KEYS_FILE)]
    pub(crate) keys_file: PathBuf,

    /// Where the queue is that all gateways share; without this file, accepted work is kept in the data directory
    #[arg(long, value_name = "FILE", default_value = skep_wire::QUEUE_FILE)]
    pub(crate) queue_file: PathBuf,

    /// The name of this gateway's Swarm task, which no other has [default: one made up]
    #[arg(long, value_name = "ID", env = skep_wire::variable::TASK)]
    pub(crate) task: Option<String>,

    /// This node's name [default: as its engine says]
    #[arg(long, value_name = "NAME", env = skep_wire::variable::NODE_NAME)]
    pub(crate) node_name: Option<String>,

    /// The Swarm config that holds `pause` [default: one of the gateway's own]
    #[arg(long, value_name = "NAME", env = skep_wire::variable::PAUSE_CONFIG)]
    pub(crate) pause_config: Option<String>,

    #[command(flatten)]
    pub(crate) common: Common,
}
