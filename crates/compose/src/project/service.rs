//! One service and everything it can say.

use crate::problem::Position;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
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

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Build {
    /// The context's directory, absolute; a URL is left to the engine.
    pub context: String,
    /// The Dockerfile within the context, or an absolute path.
    pub dockerfile: Option<String>,
    /// The Dockerfile's text instead.
    pub dockerfile_inline: Option<String>,
    /// Build arguments; without a value they are the Dockerfile's own.
    pub args: BTreeMap<String, Option<String>>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
    /// Further names for the image.
    pub tags: Vec<String>,
    /// Images whose layers may be used.
    pub cache_from: Vec<String>,
    /// Never use the cache.
    pub no_cache: bool,
    /// Always look for newer base images.
    pub pull: bool,
    /// The network during the build.
    pub network: Option<String>,
    /// Host names with their addresses.
    pub extra_hosts: Vec<String>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<i64>,
    /// The platform to build for.
    pub platform: Option<String>,
}

/// When an image is pulled or built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum PullPolicy {
    /// Pull what is not there; build what has a `build` and is not there.
    #[default]
    Missing,
    /// Never pull.
    Never,
    /// Pull at every deploy.
    Always,
    /// Build at every deploy.
    Build,
}

/// How another service must be before this one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// What to wait for.
    pub condition: Condition,
    /// Whether this one restarts when the other is replaced.
    pub restart: bool,
    /// Whether it is an error when the other is not there.
    pub required: bool,
}

/// What `depends_on` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Condition {
    /// It runs.
    Started,
    /// Its health check passes.
    Healthy,
    /// It has exited with 0.
    Completed,
}

impl Condition {
    /// Compose's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::Completed => "service_completed_successfully",
        }
    }
}

/// A service's place in a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceNetwork {
    /// The network's key in the file.
    pub network: String,
    /// Further names there.
    pub aliases: Vec<String>,
    /// A fixed IPv4 address.
    pub ipv4_address: Option<String>,
    /// A fixed IPv6 address.
    pub ipv6_address: Option<String>,
    /// Link-local addresses.
    pub link_local_ips: Vec<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// The highest comes first.
    pub priority: i64,
}

/// Something mounted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Mount {
    /// A path of the host.
    Bind {
        /// On the host, absolute.
        source: PathBuf,
        /// In the container.
        target: String,
        /// Cannot be written through.
        read_only: bool,
        /// Made as a directory where it is missing.
        create: bool,
        /// Mount propagation.
        propagation: Option<String>,
        /// SELinux relabelling, `z` or `Z`.
        selinux: Option<String>,
    },
    /// A volume of the project; without a source an anonymous one.
    Volume {
        /// The volume's key in the file.
        source: Option<String>,
        /// In the container.
        target: String,
        /// Cannot be written through.
        read_only: bool,
        /// Starts empty instead of with what the image has there.
        no_copy: bool,
    },
    /// Memory.
    Tmpfs {
        /// In the container.
        target: String,
        /// Bytes.
        size: Option<i64>,
        /// Permissions.
        mode: Option<u32>,
    },
}

impl Mount {
    /// The path in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. } | Self::Volume { target, .. } | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// A secret's or config's file in the container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileMount {
    /// On the host, absolute.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: String,
    /// A digest of what the file held at load, so that a change redeploys.
    pub digest: String,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// In the container.
    pub target: u16,
    /// On the host: a port, a range `3000-3010`, or any free one.
    pub published: Option<String>,
    /// The host's address.
    pub host_ip: Option<IpAddr>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// What the engine does when the process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// Always start it again.
    Always,
    /// Unless somebody stopped it.
    UnlessStopped,
    /// After a failure, so many times if a number is given.
    OnFailure(Option<u32>),
}

/// A health check; fields without a value keep the image's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Healthcheck {
    /// What is run; without one the image's.
    pub test: Option<Probe>,
    /// Between two checks.
    pub interval: Option<Duration>,
    /// For one check.
    pub timeout: Option<Duration>,
    /// Failures until it counts as unhealthy.
    pub retries: Option<u64>,
    /// Failures do not count this long.
    pub start_period: Option<Duration>,
    /// Between two checks during that time.
    pub start_interval: Option<Duration>,
}

/// What a health check runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Probe {
    /// Nothing, not even the image's.
    Disabled,
    /// As the engine takes it: `CMD` or `CMD-SHELL`, then words.
    Command(Vec<String>),
}

/// Limits and reservations.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Memory and swap together; -1 without limit.
    pub memory_swap: Option<i64>,
    /// Bytes below which nothing is reclaimed under pressure.
    pub memory_reservation: Option<i64>,
    /// Processes and threads.
    pub pids: Option<i64>,
    /// Relative weight.
    pub cpu_shares: Option<i64>,
    /// Which CPUs.
    pub cpuset: Option<String>,
    /// Microseconds of a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<i64>,
    /// Who is killed first.
    pub oom_score_adj: Option<i64>,
    /// Never killed for memory.
    pub oom_kill_disable: Option<bool>,
}

/// The log driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Logging {
    /// Its name; the engine's default without.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A limit of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ulimit {
    /// What holds.
    pub soft: i64,
    /// What it may be raised to.
    pub hard: i64,
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// On the host.
    pub source: String,
    /// In the container.
    pub target: String,
    /// `r`, `w`, `m`.
    pub permissions: String,
}
