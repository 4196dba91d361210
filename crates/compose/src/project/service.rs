//! One service and everything it can say.

use super::parts::{
    Build, Dependency, Device, FileMount, Healthcheck, Limits, Logging, Mount, Port, PullPolicy, Restart,
    ServiceNetwork, Ulimit,
};
use crate::problem::Position;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A service: containers that run, or a function that is parked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// Its key under `services`.
    pub name: String,
    /// Where it stands in the file; no part of what it is.
    #[serde(skip)]
    pub position: Position,
    /// Where each of its keys stands.
    #[serde(skip)]
    pub positions: BTreeMap<String, Position>,
    /// The function's name (`skep.function`), if it is one.
    pub function: Option<String>,
    /// The image to run, or the name for what `build` makes.
    pub image: Option<String>,
    /// How to build the image.
    #[serde(skip)]
    pub build: Option<Build>,
    /// When to pull or build.
    #[serde(skip)]
    pub pull_policy: PullPolicy,
    /// For multi-platform images.
    pub platform: Option<String>,
    /// Replaces the image's command; empty takes it away.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint; empty takes it away.
    pub entrypoint: Option<Vec<String>>,
    /// With `env_file` and the environment already put in.
    pub environment: BTreeMap<String, String>,
    /// Labels of the container; for a function those of `deploy` too.
    pub labels: BTreeMap<String, String>,
    /// Annotations for the runtime.
    pub annotations: BTreeMap<String, String>,
    /// How many containers; a function always has one template.
    #[serde(skip)]
    pub replicas: u32,
    /// Services that come first.
    #[serde(skip)]
    pub depends_on: BTreeMap<String, Dependency>,
    /// A name of its own instead of PROJECT-SERVICE-N.
    pub container_name: Option<String>,
    /// Networks to join, the first being the one for the default route.
    pub networks: Vec<ServiceNetwork>,
    /// `none`, `host`, `bridge`, `service:NAME` or `container:ID` instead.
    pub network_mode: Option<String>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Secrets and configs, as files mounted read-only.
    pub files: Vec<FileMount>,
    /// Ports published on the host.
    pub ports: Vec<Port>,
    /// Ports only exposed, `80/tcp`.
    pub expose: Vec<String>,
    /// What the engine does when the process ends.
    pub restart: Restart,
    /// How the engine tells whether it is healthy.
    pub healthcheck: Option<Healthcheck>,
    /// Limits of CPU, memory and processes.
    pub limits: Limits,
    /// Log driver.
    pub logging: Option<Logging>,
    /// Resource limits of the process, by name.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Paths on tmpfs with their options.
    pub tmpfs: BTreeMap<String, String>,
    /// Host names with their addresses, `name:address`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_opt: Vec<String>,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// Security options.
    pub security_opt: Vec<String>,
    /// Further groups.
    pub group_add: Vec<String>,
    /// The container's host name.
    pub hostname: Option<String>,
    /// The container's domain.
    pub domainname: Option<String>,
    /// User, or user and group.
    pub user: Option<String>,
    /// Where the command starts.
    pub working_dir: Option<String>,
    /// The signal that asks it to end.
    pub stop_signal: Option<String>,
    /// How long it may take to end.
    pub stop_grace_period: Option<Duration>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<i64>,
    /// PID namespace.
    pub pid: Option<String>,
    /// IPC namespace.
    pub ipc: Option<String>,
    /// User namespace.
    pub userns_mode: Option<String>,
    /// OCI runtime.
    pub runtime: Option<String>,
    /// The engine's own init as process 1.
    pub init: Option<bool>,
    /// Every right of the host.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// A terminal.
    pub tty: bool,
    /// Standard input stays open.
    pub stdin_open: bool,
}

impl Service {
    /// Where a key stands (`deploy.labels` where `deploy` does), or the
    /// service itself if it has no such key.
    pub fn position_of(&self, key: &str) -> &Position {
        let first = key.split('.').next().unwrap_or(key);
        self.positions.get(first).unwrap_or(&self.position)
    }
}
