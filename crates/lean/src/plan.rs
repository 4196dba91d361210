//! From a template's `inspect` to what the spawner needs to know; or to the reasons why lean can't give it alike.

use serde_json::Value;
use skep_model::Function;
use skep_spawner::{Device, Identity, Limit, Mount, MountKind, MountOptions, Process};

use crate::host::Host;
use crate::inspect::{Fields, not_given};
use crate::limits::Setting;
use crate::{capabilities, limits, seccomp, volumes};

/// Docker's path where neither image nor template names one.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The numbers of the files that every instance gets of its own.
pub(crate) const FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];

/// Which network namespace instances run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// An empty one each.
    Own,
    /// The sandbox's.
    Sandbox,
}

/// A template, understood in full.
pub(crate) struct Plan {
    pub(crate) process: Process,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) masked: Vec<String>,
    pub(crate) read_only: Vec<String>,
    pub(crate) read_only_root: bool,
    pub(crate) settings: Vec<Setting>,
    pub(crate) cgroup_namespace: bool,
    pub(crate) network: Network,
    /// A host name that was asked for; without one each instance has its own.
    pub(crate) hostname: Option<String>,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) stop_signal: String,
    pub(crate) stop_grace: std::time::Duration,
}

/// Reads a function's template.
///
/// # Errors
/// Every reason why the lean engine does not give what it asks for.
pub(crate) fn plan(function: &Function, host: &Host) -> Result<Plan, Vec<String>> {
    let inspect: Value = serde_json::from_str(&function.template.inspect)
        .map_err(|error| vec![format!("the template's inspect can't be read: {error}")])?;
    let mut reasons = Vec::new();
    let mut config = Fields::new("Config", inspect.get("Config").cloned());
    let mut host_config = Fields::new("HostConfig", inspect.get("HostConfig").cloned());
    let network = network(&mut host_config, &inspect, &mut reasons);
    let mut process = process(&mut config, &mut host_config, &mut reasons);
    rights(&mut process, &mut host_config, host, network, &mut reasons);
    let read_only_root = host_config.flag("ReadonlyRootfs");
    let mounts = mounts(&inspect, &mut host_config, read_only_root, &mut reasons);
    let settings = limits::read(&mut host_config);
    let plan = Plan {
        process,
        mounts,
        masked: host_config.texts("MaskedPaths"),
        read_only: host_config.texts("ReadonlyPaths"),
        read_only_root,
        settings,
        cgroup_namespace: host_config.text("CgroupnsMode") == "private",
        network,
        hostname: Some(config.text("Hostname")).filter(|name| *name != function.template.id.short()),
        extra_hosts: host_config.texts("ExtraHosts"),
        stop_signal: config.text("StopSignal"),
        stop_grace: std::time::Duration::from_secs(config.take("StopTimeout").as_u64().unwrap_or(10)),
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

fn network(host: &mut Fields, inspect: &Value, reasons: &mut Vec<String>) -> Network {
    let mode = host.text("NetworkMode");
    let networks = inspect
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object);
    match mode.as_str() {
        "none" => return Network::Own,
        "host" => {
            reasons.push("the lean engine does not run in the host's network (--network host)".to_owned())
        }
        container if container.starts_with("container:") => {
            reasons.push("the lean engine does not run in another container's network".to_owned());
        }
        _ if networks.is_some_and(|networks| networks.len() > 1) => {
            reasons.push("the lean engine does not join several networks".to_owned());
        }
        _ => {}
    }
    Network::Sandbox
}

fn process(config: &mut Fields, host: &mut Fields, reasons: &mut Vec<String>) -> Process {
    let mut arguments = config.texts("Entrypoint");
    arguments.extend(config.texts("Cmd"));
    if arguments.first().is_some_and(String::is_empty) {
        arguments.remove(0);
    }
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

/// Capabilities, seccomp, AppArmor, no_new_privs.
fn rights(
    process: &mut Process,
    host_config: &mut Fields,
    host: &Host,
    network: Network,
    reasons: &mut Vec<String>,
) {
    let (added, dropped) = (host_config.texts("CapAdd"), host_config.texts("CapDrop"));
    match capabilities::granted(&added, &dropped) {
        Ok(mut granted) => {
            let raw = capabilities::bit("NET_RAW").unwrap_or_default();
            let asked = added.iter().any(|name| capabilities::bit(name) == Some(raw));
            if asked && network == Network::Sandbox {
                reasons.push("the lean engine does not grant NET_RAW in a shared sandbox".to_owned());
            } else if network == Network::Sandbox {
                // Others share this loopback device, and with it their traffic could be read (DESIGN 3.2).
                granted &= !raw;
            }
            process.capabilities = granted;
        }
        Err(reason) => reasons.push(reason),
    }
    let mut confined = true;
    for option in host_config.texts("SecurityOpt") {
        match option.replace('=', ":").as_str() {
            "no-new-privileges" | "no-new-privileges:true" => process.no_new_privileges = true,
            "no-new-privileges:false" => {}
            "seccomp:unconfined" => confined = false,
            _ => reasons.push(format!(
                "the lean engine does not give the security option {option}"
            )),
        }
    }
    if confined {
        match seccomp::default_profile(process.capabilities, host.strict_seccomp) {
            Ok(program) => process.seccomp = Some(program),
            Err(reason) => reasons.push(reason),
        }
    }
    process.apparmor.clone_from(&host.apparmor);
}

fn mounts(inspect: &Value, host: &mut Fields, read_only_root: bool, reasons: &mut Vec<String>) -> Vec<Mount> {
    let plain = MountOptions {
        no_suid: true,
        no_devices: true,
        no_exec: true,
        ..MountOptions::default()
    };
    let mount = |kind, target: &str, options| Mount {
        kind,
        target: target.to_owned(),
        options,
    };
    let terminals = MountOptions {
        no_suid: true,
        no_exec: true,
        ..MountOptions::default()
    };
    let devices = MountOptions {
        no_suid: true,
        strict_access_times: true,
        ..MountOptions::default()
    };
    let memory = |source: &str, options: String| MountKind::Tmpfs {
        source: source.to_owned(),
        options,
    };
    let read_only = MountOptions {
        read_only: true,
        ..plain
    };
    let shared_memory = host.number("ShmSize");
    let shared_memory = if shared_memory > 0 {
        shared_memory
    } else {
        64 << 20
    };
    let mut all = vec![
        mount(MountKind::Proc, "/proc", plain),
        mount(
            memory("tmpfs", "mode=755,size=65536k".to_owned()),
            "/dev",
            devices,
        ),
        mount(MountKind::DevPts, "/dev/pts", terminals),
        mount(MountKind::Sysfs, "/sys", read_only),
        mount(MountKind::Cgroup, "/sys/fs/cgroup", read_only),
        mount(MountKind::Mqueue, "/dev/mqueue", plain),
        mount(
            memory("shm", format!("mode=1777,size={shared_memory}")),
            "/dev/shm",
            plain,
        ),
    ];
    for (index, path) in FILES.into_iter().enumerate() {
        all.push(mount(
            MountKind::File(index),
            path,
            MountOptions {
                read_only: read_only_root,
                ..MountOptions::default()
            },
        ));
    }
    let mut own = volumes::read(inspect, host, reasons);
    // As Docker: the shorter path first, so that none hides another.
    own.sort_by_key(|mount| mount.target.split('/').count());
    all.retain(|usual| own.iter().all(|mount| mount.target != usual.target));
    all.extend(own);
    all
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
        "OpenStdin",
        "StdinOnce",
        "Image",
        "Labels",
        "OnBuild",
        "ExposedPorts",
        "ArgsEscaped",
        "Shell",
        "Volumes",
    ]);
    host_config.ignore(&[
        "LogConfig",
        "RestartPolicy",
        "AutoRemove",
        "ConsoleSize",
        "PortBindings",
        "VolumeDriver",
    ]);
    if network == Network::Sandbox {
        // The sandbox's own, from which instances have them.
        host_config.ignore(&["Dns", "DnsOptions", "DnsSearch"]);
    }
    let runtime = host.runtime.clone();
    let allowed: [(&str, &[&str]); 6] = [
        ("Runtime", &[runtime.as_str(), ""]),
        ("IpcMode", &["", "private", "shareable"]),
        ("Isolation", &["", "default"]),
        ("UTSMode", &[""]),
        ("PidMode", &[""]),
        ("UsernsMode", &[""]),
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

/// The device nodes that Docker makes in every container.
pub(crate) fn devices() -> Vec<Device> {
    let nodes = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("tty", 5, 0),
        ("random", 1, 8),
        ("urandom", 1, 9),
    ];
    let device = |(name, major, minor): (&str, u32, u32)| Device {
        path: format!("/dev/{name}"),
        character: true,
        major,
        minor,
        mode: 0o666,
        user: 0,
        group: 0,
    };
    nodes.into_iter().map(device).collect()
}

/// The links that Docker makes beside them.
pub(crate) fn links() -> Vec<(String, String)> {
    let mut links = vec![
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    if std::path::Path::new("/proc/kcore").exists() {
        links.push(("/dev/core", "/proc/kcore"));
    }
    links
        .into_iter()
        .map(|(path, to)| (path.to_owned(), to.to_owned()))
        .collect()
}
