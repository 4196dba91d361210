//! `skep serve`: its flags, each also an environment variable.

use clap::Args;
use skep_model::label;

use super::{Common, Listeners, Making};
use crate::environment;

/// The flags of `skep serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) listeners: Listeners,

    /// The port of SKEP_URL on each network's gateway address, through which functions call each other; 0 takes any
    #[arg(long, value_name = "PORT", env = environment::CALL_PORT, default_value_t = 8082)]
    pub(crate) call_port: u16,

    #[command(flatten)]
    pub(crate) making: Making,

    /// The memory that all instances together may have, such as 4g [default: four fifths of the host's]
    #[arg(long, value_name = "BYTES", env = environment::MEMORY_BUDGET, value_parser = label::bytes)]
    pub(crate) memory_budget: Option<u64>,

    #[command(flatten)]
    pub(crate) common: Common,
}
