//! From a template's `inspect` to what the spawner needs to know; or to the reasons why lean can't give it alike.

pub(crate) mod devices;
pub(crate) mod init;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod paths;
mod propagation;
mod rights;
pub(crate) mod sysctls;
mod tmpfs;
mod volumes;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use skep_model::Function;
use skep_spawner::{Device, Identity, Limit, Mount, Process};

pub(crate) use self::network::{Network, Sharing};
pub(crate) use self::volumes::Volume;
use crate::host::{self, Host};
use crate::inspect::{Fields, not_given};
use crate::layers::{Image, Source};
use crate::limits::Limits;
use crate::{capabilities, limits, seccomp};

use self::rights::Seccomp;

/// Docker's path where neither image nor template names one.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where Docker keeps a container's output itself, and nobody else waits for it.
const OWN_LOGS: [&str; 4] = ["", "json-file", "local", "none"];

/// A template, understood in full.
pub(crate) struct Plan {
    /// The first process; with its seccomp program only where that is the template's own.
    pub(crate) process: Process,
    /// Whether Docker's default seccomp profile is applied.
    confined: bool,
    strict_seccomp: bool,
    pub(crate) mounts: Vec<Mount>,
    /// Volumes that instances share by name.
    pub(crate) volumes: Vec<Volume>,
    /// Devices beside those that every container has.
    pub(crate) devices: Vec<Device>,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) masked: Vec<String>,
    pub(crate) read_only: Vec<String>,
    pub(crate) read_only_root: bool,
    pub(crate) limits: Limits,
    pub(crate) cgroup_namespace: bool,
    pub(crate) network: Network,
    pub(crate) sharing: Sharing,
    /// Whether the template's own container is the sandbox, which is then neither made nor removed here.
    pub(crate) given: bool,
    /// Whether Docker's own first process stands before the command; `None` leaves it to the daemon's default.
    pub(crate) init: Option<bool>,
    /// That program, where it was found.
    pub(crate) init_program: Option<PathBuf>,
    /// Whether standard input stays open though nobody writes to it (`-i`).
    pub(crate) open_stdin: bool,
    /// A host name that was asked for; without one each instance has its own.
    pub(crate) hostname: Option<String>,
    pub(crate) extra_hosts: Vec<String>,
    /// The number of the signal that asks the process to end.
    pub(crate) stop_signal: i32,
    pub(crate) stop_grace: Duration,
}

impl Plan {
    /// The first process with its seccomp program.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn confined_process(&self) -> Result<Process, String> {
        let mut process = self.process.clone();
        if self.confined {
            process.seccomp = Some(seccomp::default_profile(
                process.capabilities,
                self.strict_seccomp,
            )?);
        }
        Ok(process)
    }
}

/// Reads a function's template. Of other containers' networks it may be in that of `joined` alone.
///
/// # Errors
/// Every reason why the lean engine does not give what it asks for.
pub(crate) fn plan(function: &Function, host: &Host, joined: Option<&str>) -> Result<Plan, Vec<String>> {
    let inspect: Value = serde_json::from_str(&function.template.inspect)
        .map_err(|error| vec![format!("the template's inspect can't be read: {error}")])?;
    let mut reasons = Vec::new();
    let mut config = Fields::new("Config", inspect.get("Config").cloned());
    let mut host_config = Fields::new("HostConfig", inspect.get("HostConfig").cloned());
    if function.template.copied.is_some() {
        reasons.push(
            "the lean engine does not carry over what was put into the template with docker cp".to_owned(),
        );
    }
    if host.layers != Source::Overlay2 && Image::of(&function.template).is_none() {
        reasons.push(format!(
            "the image {} has no digest by which its layers could be kept",
            function.template.image_id
        ));
    }
    let network = network::read(function, joined, &mut host_config, &inspect, &mut reasons);
    let mut process = process(&mut config, &mut host_config, &mut reasons);
    let rights = rights::read(&mut host_config, host, &mut reasons);
    let masked = paths("MaskedPaths", &mut host_config, &mut reasons);
    let read_only = paths("ReadonlyPaths", &mut host_config, &mut reasons);
    let open = !read_only.iter().any(|path| path == "/proc/sys");
    let sharing = match network {
        Network::Own => Sharing::Together,
        Network::Sandbox | Network::Joined => {
            network::sharing(function, rights.capabilities, &rights.asked, open)
        }
    };
    let given = network::is_given(function);
    if given && sharing == Sharing::Once {
        reasons.push(
            "an instance could change its network, and a Swarm task's network is not made anew for each (NET_ADMIN, \
             SYS_ADMIN, or a /proc/sys that can be written)"
                .to_owned(),
        );
    }
    process.capabilities = rights.capabilities;
    if network == Network::Joined && sharing != Sharing::Together {
        reasons.push(
            "the lean engine does not share another container's network with what could change or overhear it"
                .to_owned(),
        );
    }
    if network != Network::Own && sharing == Sharing::Together {
        // Others share this loopback device, and with it their traffic could be read (DESIGN 3.2).
        process.capabilities &= !capabilities::bit("NET_RAW").unwrap_or_default();
    }
    process.no_new_privileges = rights.no_new_privileges;
    process.apparmor = rights.apparmor;
    if let Seccomp::Own(profile) = &rights.seccomp {
        match seccomp::compile(profile, &circumstances(process.capabilities, host)) {
            Ok(program) => process.seccomp = Some(program),
            Err(reason) => reasons.push(reason),
        }
    }
    let read_only_root = host_config.flag("ReadonlyRootfs");
    let (mounts, volumes) = mounts::read(
        &inspect,
        &mut config,
        &mut host_config,
        (read_only_root, host.read_only_below),
        &mut reasons,
    );
    reasons.extend(
        mounts
            .iter()
            .filter_map(|mount| propagation::out_of_sight(mount, host)),
    );
    let devices = devices::read(&mut host_config, &mut reasons);
    let mut limits = limits::read(&mut host_config, host, &mut reasons);
    limits.devices.extend(devices.rules);
    let init = host_config.take("Init").as_bool();
    if init == Some(true) && host.init.is_none() {
        reasons.push("Docker's init program (--init) is not found on this node".to_owned());
    }
    let stop_signal = config.text("StopSignal");
    let signal = match stop_signal.as_str() {
        "" => Some(15),
        name => skep_sys::signal_number(name),
    };
    let signal = signal.unwrap_or_else(|| {
        reasons.push(not_given("Config", "StopSignal", &stop_signal.into()));
        15
    });
    let plan = Plan {
        process,
        confined: rights.seccomp == Seccomp::Default,
        strict_seccomp: host.strict_seccomp,
        mounts,
        volumes,
        devices: devices.nodes,
        sysctls: sysctls::read(&mut host_config, network, &mut reasons),
        masked,
        read_only,
        read_only_root,
        limits,
        cgroup_namespace: host_config.text("CgroupnsMode") == "private",
        network,
        sharing,
        given,
        init,
        init_program: host.init.clone(),
        open_stdin: config.flag("OpenStdin"),
        hostname: Some(config.text("Hostname")).filter(|name| *name != function.template.id.short()),
        extra_hosts: extra_hosts(&mut host_config, network, &mut reasons),
        stop_signal: signal,
        stop_grace: Duration::from_secs(config.take("StopTimeout").as_u64().unwrap_or(10)),
    };
    expect_defaults(&mut config, &mut host_config, host, network, &mut reasons);
    reasons.extend(config.leftovers());
    reasons.extend(host_config.leftovers());
    if reasons.is_empty() {
        Ok(plan)
    } else {
        Err(reasons)
    }
}

/// What a seccomp profile is read with.
fn circumstances(granted: u64, host: &Host) -> seccomp::Circumstances {
    let names = capabilities::names(granted).into_iter();
    seccomp::Circumstances {
        capabilities: names
            .map(|name| format!("CAP_{}", name.trim_start_matches("CAP_")))
            .collect(),
        kernel: host::kernel(),
        old_engine: host.major < 23,
        is_guarded: !host.runtime.contains("crun"),
    }
}

/// Paths of the kernel's that are hidden or protected. An engine that names none would hide some all the same.
fn paths(field: &'static str, host: &mut Fields, reasons: &mut Vec<String>) -> Vec<String> {
    match host.take(field) {
        Value::Array(paths) => paths
            .into_iter()
            .filter_map(|path| path.as_str().map(str::to_owned))
            .collect(),
        other => {
            reasons.push(not_given("HostConfig", field, &other));
            Vec::new()
        }
    }
}

fn extra_hosts(host: &mut Fields, network: Network, reasons: &mut Vec<String>) -> Vec<String> {
    let extra = host.texts("ExtraHosts");
    if network == Network::Own && extra.iter().any(|entry| entry.ends_with(":host-gateway")) {
        reasons.push("the lean engine knows no host-gateway without a network".to_owned());
    }
    extra
}

fn process(config: &mut Fields, host: &mut Fields, reasons: &mut Vec<String>) -> Process {
    let mut arguments = config.texts("Entrypoint");
    // An entry point that is one empty word is none.
    if arguments == [""] {
        arguments.clear();
    }
    arguments.extend(config.texts("Cmd"));
    let mut environment = config.texts("Env");
    if !environment.iter().any(|variable| variable.starts_with("PATH=")) {
        environment.insert(0, DEFAULT_PATH.to_owned());
    }
    let adjustment = host.number("OomScoreAdj");
    Process {
        arguments,
        environment,
        directory: config.text("WorkingDir"),
        identity: Identity {
            user: config.text("User"),
            groups: host.texts("GroupAdd"),
        },
        capabilities: 0,
        no_new_privileges: false,
        seccomp: None,
        apparmor: None,
        limits: ulimits(host, reasons),
        usual_limits: Vec::new(),
        oom_score_adjustment: i32::try_from(adjustment).unwrap_or_default(),
        domain: config.text("Domainname"),
    }
}

fn ulimits(host: &mut Fields, reasons: &mut Vec<String>) -> Vec<Limit> {
    let Value::Array(ulimits) = host.take("Ulimits") else {
        return Vec::new();
    };
    let mut read = Vec::new();
    for ulimit in ulimits {
        let bound = |name: &str| ulimit.get(name).and_then(Value::as_i64);
        match (
            ulimit.get("Name").and_then(Value::as_str),
            bound("Soft"),
            bound("Hard"),
        ) {
            (Some(name), Some(soft), Some(hard)) => read.push(Limit {
                resource: name.to_owned(),
                // Docker writes "no limit" as -1.
                soft: u64::try_from(soft).ok(),
                hard: u64::try_from(hard).ok(),
            }),
            _ => reasons.push(not_given("HostConfig", "Ulimits", &ulimit)),
        }
    }
    read
}

/// Fields whose value Docker fills in by itself: neutral with that value, and only with it.
fn expect_defaults(
    config: &mut Fields,
    host_config: &mut Fields,
    host: &Host,
    network: Network,
    reasons: &mut Vec<String>,
) {
    config.ignore(&[
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "StdinOnce",
        "Image",
        "Labels",
        "OnBuild",
        "ExposedPorts",
        "ArgsEscaped",
        "Shell",
        // What is ready is asked by `skep.ready`; a check of Docker's changes nothing about the process.
        "Healthcheck",
    ]);
    host_config.ignore(&[
        "RestartPolicy",
        "AutoRemove",
        "Annotations",
        "ConsoleSize",
        "PortBindings",
        "VolumeDriver",
        "ContainerIDFile",
    ]);
    if network == Network::Sandbox {
        // The sandbox's own, from which instances have them.
        host_config.ignore(&["Dns", "DnsOptions", "DnsSearch"]);
    }
    let log = host_config.take("LogConfig");
    let driver = log.get("Type").and_then(Value::as_str).unwrap_or_default();
    if !OWN_LOGS.contains(&driver) && driver != host.log_driver {
        reasons.push(format!(
            "the lean engine keeps logs itself and does not hand them to the driver {driver} (--log-driver)"
        ));
    }
    let runtime = host.runtime.clone();
    let allowed: [(&str, &[&str]); 5] = [
        ("Runtime", &[runtime.as_str(), ""]),
        ("Isolation", &["", "default"]),
        ("UTSMode", &[""]),
        ("PidMode", &[""]),
        // On a daemon that maps no users this changes nothing.
        ("UsernsMode", &["", "host"]),
    ];
    for (field, values) in allowed {
        let value = host_config.text(field);
        if !values.contains(&value.as_str()) {
            reasons.push(not_given("HostConfig", field, &value.into()));
        }
    }
    match host_config.take("MemorySwappiness").as_i64() {
        None | Some(-1) => {}
        Some(other) => reasons.push(not_given("HostConfig", "MemorySwappiness", &other.into())),
    }
}
