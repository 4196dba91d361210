//! `HostConfig`, as far as a child may have one.

use serde_json::{Map, Value, json};
use skep_model::{PortRange, Spawn};

use crate::SOCKET;
use crate::fields::Fields;
use crate::json::Json;
use crate::mounts::{self, MOST as MOUNTS, Mounts};
use crate::refusal::Refusal;
use crate::tables::{self, Neutral};

/// The least memory that the daemon gives a container.
const LEAST_MEMORY: i64 = 6 << 20;
/// The most ports that a child publishes.
pub(crate) const PORTS: usize = 64;
/// The most processes of a child.
const PIDS: i64 = 4096;

/// What a child asks for of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// Its mounts.
    pub mounts: Mounts,
    /// The memory that it asks for, in bytes.
    pub memory: Option<i64>,
    /// The CPUs that it asks for, in billionths.
    pub nano_cpus: Option<i64>,
    /// Removed by the daemon when it ends.
    pub auto_remove: bool,
    /// Whether the daemon starts it again when it ends.
    pub restarts: bool,
    restart: (String, i64),
    reservation: Option<i64>,
    cpu_shares: Option<i64>,
    pids: Option<i64>,
    shared_memory: Option<i64>,
    oom_score: Option<i64>,
    read_only: bool,
    init: Option<bool>,
    no_new_privileges: bool,
    drop: Vec<String>,
    groups: Vec<String>,
    dns: [Vec<String>; 3],
    hosts: Vec<String>,
    ports: Vec<(String, Vec<(String, String)>)>,
    publish_all: bool,
    limits: Vec<(String, i64, i64)>,
    console: Option<[i64; 2]>,
}

impl Host {
    /// Reads it, but for the network mode, which is taken before.
    pub(crate) fn read(mut host: Fields, spawn: &Spawn) -> Result<Self, Refusal> {
        let memory_grant = i64::try_from(spawn.memory).unwrap_or(i64::MAX);
        let too_much =
            format!("skep.spawn.memory grants {memory_grant} bytes in all, and a container needs 6 MiB");
        let memory = host.number("Memory")?.filter(|bytes| *bytes != 0);
        if memory.is_some_and(|bytes| !(LEAST_MEMORY..=memory_grant).contains(&bytes)) {
            return Err(Refusal::forbidden(format!("HostConfig.Memory: {too_much}")));
        }
        let swap = host.number("MemorySwap")?.unwrap_or(0);
        if swap != 0 && memory.is_none_or(|bytes| swap < bytes || swap > bytes.saturating_mul(2)) {
            return Err(Refusal::forbidden(
                "HostConfig.MemorySwap: memory and swap together are bounded by skep.spawn.memory; leave it out",
            ));
        }
        let nano_cpus = cpus(&mut host, spawn)?;
        let (restart, restarts) = restart(&mut host)?;
        let read = Self {
            memory,
            nano_cpus,
            mounts: Mounts::read(&mut host, spawn)?,
            auto_remove: host.flag("AutoRemove")?,
            restarts,
            restart,
            reservation: host.bounded("MemoryReservation", 0..=memory_grant, &too_much)?,
            cpu_shares: host.bounded("CpuShares", 0..=1024, "at most 1024, the usual share")?,
            pids: host.bounded("PidsLimit", -1..=PIDS, "at most 4096 processes")?,
            shared_memory: host.bounded("ShmSize", 0..=memory_grant, &too_much)?,
            oom_score: host.bounded("OomScoreAdj", 0..=1000, "a child is not kept longer than others")?,
            read_only: host.flag("ReadonlyRootfs")?,
            init: host.maybe_flag("Init")?,
            no_new_privileges: no_new_privileges(&mut host)?,
            drop: words(host.texts("CapDrop")?, "CapDrop")?,
            groups: host.texts("GroupAdd")?,
            dns: [
                host.texts("Dns")?,
                host.texts("DnsOptions")?,
                host.texts("DnsSearch")?,
            ],
            hosts: host.texts("ExtraHosts")?,
            ports: published(&mut host, &spawn.ports)?,
            publish_all: host.flag("PublishAllPorts")?,
            limits: limits(host.list("Ulimits")?)?,
            console: console(&mut host)?,
        };
        if read.mounts.len() > MOUNTS {
            return Err(Refusal::forbidden(format!("HostConfig: at most {MOUNTS} mounts")));
        }
        if read.publish_all && !spawn.ports.iter().any(|range| range.contains(0)) {
            return Err(Refusal::forbidden(
                "HostConfig.PublishAllPorts: publishing on any free port needs the port 0 in skep.spawn.ports",
            ));
        }
        log(&mut host)?;
        // Where the client keeps the id is its own business.
        host.text("ContainerIDFile")?;
        host.neutral(tables::HOST)?;
        host.finish()?;
        Ok(read)
    }

    /// The first field that asks for something, but for the removal at the end.
    pub(crate) fn asked(&self) -> Option<String> {
        if self.memory.is_some() {
            return Some("Memory".to_owned());
        }
        if self.nano_cpus.is_some() {
            return Some("NanoCpus".to_owned());
        }
        let nothing = Self {
            auto_remove: self.auto_remove,
            restart: ("no".to_owned(), 0),
            console: self.console,
            ..Self::default()
        };
        let nothing = nothing.written();
        let asked = self.written();
        asked
            .into_iter()
            .find(|(field, value)| nothing.get(field) != Some(value))
            .map(|(field, _)| field)
    }

    /// Whether it names what only one node has.
    pub(crate) fn is_of_its_node(&self) -> bool {
        !self.ports.is_empty() || self.publish_all || self.mounts.has_volumes()
    }

    /// Adds what is asked of Skep and not of the daemon, as a request says it.
    pub(crate) fn ask(&self, host: &mut Map<String, Value>) {
        if self.mounts.socket
            && let Some(Value::Array(binds)) = host.get_mut("Binds")
        {
            binds.push(format!("{SOCKET}:{SOCKET}").into());
        }
    }

    /// `HostConfig` for the daemon, without what is settled elsewhere.
    pub(crate) fn written(&self) -> Map<String, Value> {
        let mut out = Map::new();
        let mut set = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
        set("AutoRemove", self.auto_remove.into());
        let (name, count) = &self.restart;
        set(
            "RestartPolicy",
            json!({ "Name": name, "MaximumRetryCount": count }),
        );
        set("Binds", self.mounts.binds.clone().into());
        set("Mounts", self.mounts.listed().into());
        set("Tmpfs", self.mounts.in_memory());
        for (name, number) in [
            ("MemoryReservation", self.reservation),
            ("CpuShares", self.cpu_shares),
            ("ShmSize", self.shared_memory),
            ("OomScoreAdj", self.oom_score),
        ] {
            set(name, number.unwrap_or(0).into());
        }
        set(
            "PidsLimit",
            self.pids.filter(|limit| *limit > 0).unwrap_or(PIDS).into(),
        );
        set("ReadonlyRootfs", self.read_only.into());
        set("Init", self.init.map_or(Value::Null, Value::Bool));
        if self.no_new_privileges {
            set("SecurityOpt", json!(["no-new-privileges"]));
        }
        set("CapDrop", self.drop.clone().into());
        set("GroupAdd", self.groups.clone().into());
        for (name, list) in ["Dns", "DnsOptions", "DnsSearch"].iter().zip(&self.dns) {
            set(name, list.clone().into());
        }
        set("ExtraHosts", self.hosts.clone().into());
        let bindings = self.ports.iter().map(|(port, hosts)| {
            let hosts = hosts
                .iter()
                .map(|(ip, port)| json!({ "HostIp": ip, "HostPort": port }));
            (port.clone(), hosts.collect::<Vec<_>>().into())
        });
        set("PortBindings", Value::Object(bindings.collect()));
        set("PublishAllPorts", self.publish_all.into());
        let limits = self.limits.iter();
        let limits = limits.map(|(name, soft, hard)| json!({ "Name": name, "Soft": soft, "Hard": hard }));
        set("Ulimits", limits.collect::<Vec<_>>().into());
        if let Some(size) = self.console {
            set("ConsoleSize", json!(size));
        }
        out
    }
}

fn cpus(host: &mut Fields, spawn: &Spawn) -> Result<Option<i64>, Refusal> {
    let (nano, period, quota) = (
        host.number("NanoCpus")?.unwrap_or(0),
        host.number("CpuPeriod")?.unwrap_or(0),
        host.number("CpuQuota")?.unwrap_or(0),
    );
    let grant = i64::try_from(spawn.nano_cpus).unwrap_or(i64::MAX);
    let asked = match (nano, period, quota) {
        (0, 0, 0) => return Ok(None),
        (nano, 0, 0) => nano,
        (0, period, quota) if (0..=1_000_000).contains(&period) && quota > 0 => {
            let period = if period == 0 { 100_000 } else { period };
            quota.saturating_mul(1_000_000_000) / period
        }
        _ => {
            return Err(Refusal::malformed(
                "HostConfig: NanoCpus, CpuPeriod and CpuQuota contradict each other",
            ));
        }
    };
    if (1..=grant).contains(&asked) {
        Ok(Some(asked))
    } else {
        Err(Refusal::forbidden(format!(
            "HostConfig.NanoCpus: skep.spawn.cpus grants {} CPUs in all",
            spawn.nano_cpus as f64 / 1e9
        )))
    }
}

fn restart(host: &mut Fields) -> Result<((String, i64), bool), Refusal> {
    let mut policy = host.object("RestartPolicy")?;
    let name = policy.text("Name")?;
    let count = policy.bounded("MaximumRetryCount", 0..=1000, "at most 1000 times")?;
    policy.finish()?;
    match name.as_str() {
        "" | "no" => Ok((("no".to_owned(), 0), false)),
        "on-failure" | "always" | "unless-stopped" => Ok(((name, count.unwrap_or(0)), true)),
        _ => Err(Refusal::malformed(format!(
            "HostConfig.RestartPolicy: {name:?} is no policy"
        ))),
    }
}

fn no_new_privileges(host: &mut Fields) -> Result<bool, Refusal> {
    let mut asked = false;
    for option in host.texts("SecurityOpt")? {
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true" => asked = true,
            other => {
                return Err(Refusal::forbidden(format!(
                    "HostConfig.SecurityOpt={other}: no grant of skep.spawn changes a child's confinement; \
                     no-new-privileges alone may be asked for"
                )));
            }
        }
    }
    Ok(asked)
}

fn words(list: Vec<String>, field: &str) -> Result<Vec<String>, Refusal> {
    let plain = |word: &String| {
        word.bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    if list.iter().all(plain) {
        Ok(list)
    } else {
        Err(Refusal::malformed(format!(
            "HostConfig.{field}: these are no names of capabilities"
        )))
    }
}

/// Published ports, each of which must be granted.
#[expect(clippy::type_complexity, reason = "the shape is Docker's own")]
fn published(
    host: &mut Fields,
    granted: &[PortRange],
) -> Result<Vec<(String, Vec<(String, String)>)>, Refusal> {
    let (mut ports, mut published) = (Vec::new(), 0);
    for (port, bindings) in host.entries("PortBindings")? {
        let port = mounts::port(&port)?;
        let bindings = match bindings {
            Json::Null => Vec::new(),
            Json::List(bindings) => bindings,
            other => return Err(crate::fields::wrong("HostConfig.PortBindings", "lists", &other)),
        };
        let mut kept = Vec::new();
        for binding in bindings {
            let mut binding = Fields::of("HostConfig.PortBindings", binding)?;
            let (ip, host_port) = (binding.text("HostIp")?, binding.text("HostPort")?);
            binding.finish()?;
            if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
                return Err(Refusal::malformed(format!(
                    "HostConfig.PortBindings: {ip:?} is no address"
                )));
            }
            let number = if host_port.is_empty() {
                Ok(0)
            } else {
                host_port.parse::<u16>()
            };
            if !number.is_ok_and(|number| granted.iter().any(|range| range.contains(number))) {
                let shown = if host_port.is_empty() { "0" } else { &host_port };
                return Err(Refusal::forbidden(format!(
                    "publishing on the port {shown} needs that port in skep.spawn.ports"
                )));
            }
            kept.push((ip, host_port));
            published += 1;
            // Each is a process of the engine's on the host, whatever the child may use itself.
            if published > PORTS {
                return Err(Refusal::forbidden(format!(
                    "HostConfig.PortBindings: a child publishes at most {PORTS} ports"
                )));
            }
        }
        if !kept.is_empty() {
            ports.push((port, kept));
        }
    }
    Ok(ports)
}

fn limits(list: Vec<Json>) -> Result<Vec<(String, i64, i64)>, Refusal> {
    list.into_iter()
        .map(|limit| {
            let mut limit = Fields::of("HostConfig.Ulimits", limit)?;
            let name = limit.text("Name")?;
            let (soft, hard) = (limit.number("Soft")?, limit.number("Hard")?);
            limit.finish()?;
            let most = match name.as_str() {
                "nofile" => 1 << 20,
                "nproc" => PIDS,
                "core" | "cpu" | "data" | "fsize" | "stack" | "as" | "rss" => i64::MAX,
                _ => {
                    return Err(Refusal::forbidden(format!(
                        "HostConfig.Ulimits: {name:?} is not a limit that a child can set"
                    )));
                }
            };
            match (soft, hard) {
                (Some(soft), Some(hard)) if (0..=most).contains(&soft) && (0..=most).contains(&hard) => {
                    Ok((name, soft, hard))
                }
                (Some(-1), Some(-1)) if most == i64::MAX => Ok((name, -1, -1)),
                _ => Err(Refusal::forbidden(format!(
                    "HostConfig.Ulimits: {name} is at most {most}"
                ))),
            }
        })
        .collect()
}

fn console(host: &mut Fields) -> Result<Option<[i64; 2]>, Refusal> {
    let size = host.list("ConsoleSize")?;
    console_size(&size, "HostConfig.ConsoleSize")
}

/// `[height, width]`.
pub(crate) fn console_size(size: &[Json], at: &str) -> Result<Option<[i64; 2]>, Refusal> {
    match size {
        [] => Ok(None),
        [Json::Number(height), Json::Number(width)]
            if (0..=10_000).contains(height) && (0..=10_000).contains(width) =>
        {
            Ok(Some([*height, *width]))
        }
        _ => Err(Refusal::malformed(format!("{at} is a height and a width"))),
    }
}

/// The log is Skep's to bound; asking for the usual driver says nothing.
fn log(host: &mut Fields) -> Result<(), Refusal> {
    let mut log = host.object("LogConfig")?;
    let needs = "Skep bounds the logs of children itself";
    log.neutral(&[
        (
            "Type",
            &[Neutral::Empty, Neutral::Word("json-file"), Neutral::Word("local")],
            needs,
        ),
        ("Config", &[Neutral::NoKeys], needs),
    ])?;
    log.finish()
}
