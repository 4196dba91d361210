//! What a service is made of.

use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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
