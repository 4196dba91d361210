//! What may reach the daemon, written down a second time: a list for each kind of body, by which whatever this crate
//! writes is judged.

use serde_json::{Value, json};
use skep_grant::{Connect, Create, ExecCreate, ExecStart, Json, Settled};
use skep_model::{PortRange, Spawn};

/// A body that a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Body {
    Create,
    Exec,
    ExecStart,
    Connect,
    Disconnect,
}

/// Every kind. The other calls have bodies that are never read (`rename` and the rest say all in their query) or are
/// an archive, which goes into a child as it is.
pub(crate) const ALL: [Body; 5] = [
    Body::Create,
    Body::Exec,
    Body::ExecStart,
    Body::Connect,
    Body::Disconnect,
];

/// The fields that a create body for the daemon may have; below those marked with `*`, any key.
const CREATE: &[&str] = &[
    "Image",
    "Hostname",
    "Domainname",
    "User",
    "WorkingDir",
    "Cmd",
    "Entrypoint",
    "Env",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "StopSignal",
    "StopTimeout",
    "ExposedPorts.*",
    "Volumes.*",
    "Healthcheck.Test",
    "Healthcheck.Interval",
    "Healthcheck.Timeout",
    "Healthcheck.StartPeriod",
    "Healthcheck.StartInterval",
    "Healthcheck.Retries",
    "Labels.*",
    "HostConfig.AutoRemove",
    "HostConfig.RestartPolicy.Name",
    "HostConfig.RestartPolicy.MaximumRetryCount",
    "HostConfig.Binds",
    "HostConfig.Mounts.Type",
    "HostConfig.Mounts.Source",
    "HostConfig.Mounts.Target",
    "HostConfig.Mounts.ReadOnly",
    "HostConfig.Mounts.VolumeOptions.NoCopy",
    "HostConfig.Mounts.TmpfsOptions.SizeBytes",
    "HostConfig.Mounts.TmpfsOptions.Mode",
    "HostConfig.Tmpfs.*",
    "HostConfig.MemoryReservation",
    "HostConfig.CpuShares",
    "HostConfig.ShmSize",
    "HostConfig.OomScoreAdj",
    "HostConfig.PidsLimit",
    "HostConfig.ReadonlyRootfs",
    "HostConfig.Init",
    "HostConfig.SecurityOpt",
    "HostConfig.CapDrop",
    "HostConfig.GroupAdd",
    "HostConfig.Dns",
    "HostConfig.DnsOptions",
    "HostConfig.DnsSearch",
    "HostConfig.ExtraHosts",
    "HostConfig.PortBindings.*.HostIp",
    "HostConfig.PortBindings.*.HostPort",
    "HostConfig.PublishAllPorts",
    "HostConfig.Ulimits.Name",
    "HostConfig.Ulimits.Soft",
    "HostConfig.Ulimits.Hard",
    "HostConfig.ConsoleSize",
    "HostConfig.NetworkMode",
    "HostConfig.Memory",
    "HostConfig.MemorySwap",
    "HostConfig.NanoCpus",
    "HostConfig.LogConfig.Type",
    "HostConfig.LogConfig.Config.*",
];
const EXEC: &[&str] = &[
    "Cmd",
    "Env",
    "WorkingDir",
    "User",
    "DetachKeys",
    "Tty",
    "Privileged",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "ConsoleSize",
];
const EXEC_START: &[&str] = &["Detach", "Tty", "ConsoleSize"];
const CONNECT: &[&str] = &["Container"];
const DISCONNECT: &[&str] = &["Container", "Force"];

impl Body {
    fn listed(self) -> &'static [&'static str] {
        match self {
            Self::Create => CREATE,
            Self::Exec => EXEC,
            Self::ExecStart => EXEC_START,
            Self::Connect => CONNECT,
            Self::Disconnect => DISCONNECT,
        }
    }
}

/// A grant with one of everything that can be named.
pub(crate) fn grant() -> Spawn {
    Spawn {
        may_start: vec!["debian:bookworm-slim".to_owned()],
        depth: 2,
        networks: vec!["backend".to_owned()],
        volumes: vec!["data".to_owned()],
        ports: vec![PortRange {
            first: 8080,
            last: 8080,
        }],
        ..Spawn::default()
    }
}

/// What the daemon would get of a body, where it is let through.
pub(crate) fn written(body: Body, bytes: &[u8]) -> Option<Value> {
    let json = Json::parse(bytes).ok()?;
    Some(match body {
        Body::Create => Create::parse(json, &grant()).ok()?.body(&Settled {
            image: "debian:bookworm-slim".to_owned(),
            network: "none".to_owned(),
            ..Settled::default()
        }),
        Body::Exec => ExecCreate::parse(json).ok()?.body(),
        Body::ExecStart => ExecStart::parse(json).ok()?.body(),
        Body::Connect => Connect::parse(json).ok()?.body("id", false),
        Body::Disconnect => Connect::parse(json).ok()?.body("id", true),
    })
}

/// Judges what is about to reach the daemon.
pub(crate) fn judge(body: Body, value: &Value) -> Result<(), String> {
    for path in paths(body, value) {
        // An empty object stands where entries could be.
        let is_listed = |known: &str| known == path || known.starts_with(&format!("{path}."));
        if !body.listed().iter().any(|known| is_listed(known)) {
            return Err(format!("{path} reaches the daemon: {value}"));
        }
    }
    let fails = match body {
        Body::Create => create(value),
        Body::Exec => (value["Privileged"] != false).then_some("a process with more rights"),
        Body::ExecStart => None,
        Body::Connect | Body::Disconnect => (value["Container"] != "id").then_some("another container"),
    };
    fails.map_or(Ok(()), |what| Err(format!("{what}: {value}")))
}

fn create(value: &Value) -> Option<&'static str> {
    let host = &value["HostConfig"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let at_most = |field: &str, most: i64| {
        host[field]
            .as_i64()
            .is_none_or(|number| (0..=most).contains(&number))
    };
    let memory = grant().memory as i64;
    let is_ours = |label: &String| {
        let label = label.to_lowercase();
        label.starts_with("skep.") || label.starts_with("com.docker.")
    };
    let labels = value["Labels"].as_object();
    let ports = host["PortBindings"].as_object().into_iter().flatten();
    let mut ports = ports.flat_map(|(_, bindings)| list(bindings));
    let rules = [
        (
            list(&host["Binds"])
                .iter()
                .all(|bind| bind.as_str().is_some_and(|bind| bind.starts_with("data:/"))),
            "a bind",
        ),
        (
            list(&host["Mounts"]).iter().all(|mount| {
                mount["Type"] != "bind" && matches!(mount["Source"].as_str(), None | Some("" | "data"))
            }),
            "a mount",
        ),
        (host["NetworkMode"] == "none", "a network"),
        (
            host["SecurityOpt"].is_null() || host["SecurityOpt"] == json!(["no-new-privileges"]),
            "a security option",
        ),
        (ports.all(|binding| binding["HostPort"] == "8080"), "a port"),
        (labels.is_none_or(|labels| !labels.keys().any(is_ours)), "a label"),
        (
            at_most("Memory", memory) && at_most("ShmSize", memory) && at_most("NanoCpus", 1_000_000_000),
            "a limit",
        ),
        (
            at_most("OomScoreAdj", 1000) && at_most("CpuShares", 1024) && at_most("PidsLimit", 4096),
            "a limit",
        ),
        (host["PublishAllPorts"] == false, "ports that were not granted"),
    ];
    rules.iter().find(|(holds, _)| !holds).map(|(_, what)| *what)
}

/// The fields that a value has, each with its place.
pub(crate) fn paths(body: Body, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(body.listed(), "", value, &mut found);
    found
}

fn collect(listed: &[&str], at: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let open = listed.iter().any(|known| known.starts_with(&format!("{at}*")));
                let name = if open { "*" } else { key };
                collect(listed, &format!("{at}{name}."), value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(listed, at, item, found)),
        _ => found.push(at.trim_end_matches('.').to_owned()),
    }
}
