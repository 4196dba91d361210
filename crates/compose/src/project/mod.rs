//! What a Compose file says, typed: defaults filled in, paths absolute,
//! names as the file has them.

mod parts;
mod resources;
mod service;

pub use parts::{
    Build, Condition, Dependency, Device, FileMount, Healthcheck, Limits, Logging, Mount, Port, Probe,
    PullPolicy, Restart, ServiceNetwork, Ulimit,
};
pub use resources::{FileObject, Ipam, Network, Subnet, Volume};
pub use service::Service;

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A Compose project, ready to be applied to an engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Project {
    /// Its name, as it prefixes containers, networks and volumes.
    pub name: String,
    /// Where relative paths start.
    pub directory: PathBuf,
    /// The files it was read from, absolute.
    pub files: Vec<PathBuf>,
    /// The services that the active profiles leave in.
    pub services: BTreeMap<String, Service>,
    /// Services that the profiles leave out.
    pub disabled: BTreeSet<String>,
    /// Networks that a service uses.
    pub networks: BTreeMap<String, Network>,
    /// Volumes that a service uses.
    pub volumes: BTreeMap<String, Volume>,
}
