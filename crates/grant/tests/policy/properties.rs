//! Whatever comes in, what goes on has only fields from this list.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{spawn, through};

/// The fields that a create body for the daemon may have; below those marked with `*`, any key.
const WRITTEN: &[&str] = &[
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

/// Names that a field may have, listed or not, in the right case or not.
const NAMES: &[&str] = &[
    "HostConfig",
    "NetworkingConfig",
    "EndpointsConfig",
    "Privileged",
    "privileged",
    "CapAdd",
    "Binds",
    "Mounts",
    "Devices",
    "SecurityOpt",
    "NetworkMode",
    "PidMode",
    "Image",
    "Cmd",
    "Env",
    "Labels",
    "User",
    "Memory",
    "Tmpfs",
    "PortBindings",
    "Ulimits",
    "RestartPolicy",
    "Name",
    "Healthcheck",
    "Test",
    "Volumes",
    "LogConfig",
    "Type",
    "Config",
    "VolumeOptions",
    "DriverConfig",
    "Source",
    "Target",
    "MaskedPaths",
    "Sysctls",
    "CgroupParent",
    "Runtime",
    "Tty",
    "AutoRemove",
    "default",
    "Aliases",
    "IPAMConfig",
    "Links",
    "hostconfig",
    "Extra",
    "",
];

fn paths(at: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let open = WRITTEN.iter().any(|known| known.starts_with(&format!("{at}*")));
                let name = if open { "*" } else { key };
                paths(&format!("{at}{name}."), value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(at, item, found)),
        _ => found.push(at.trim_end_matches('.').to_owned()),
    }
}

fn holds(body: &Value) -> Result<(), TestCaseError> {
    let mut found = Vec::new();
    paths("", body, &mut found);
    for path in found {
        // An empty object stands where entries could be.
        let known = WRITTEN
            .iter()
            .any(|known| *known == path || known.starts_with(&format!("{path}.")));
        prop_assert!(known, "{path} reaches the daemon: {body}");
    }
    let binds = body["HostConfig"]["Binds"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for bind in binds {
        prop_assert!(!bind.as_str().unwrap_or_default().starts_with('/'), "{bind}");
    }
    for mount in body["HostConfig"]["Mounts"].as_array().into_iter().flatten() {
        prop_assert!(mount["Type"] != "bind" && mount["Source"].as_str().unwrap_or_default().is_empty());
    }
    prop_assert!(body["HostConfig"]["NetworkMode"] == "none");
    let options = &body["HostConfig"]["SecurityOpt"];
    prop_assert!(options.is_null() || *options == json!(["no-new-privileges"]));
    Ok(())
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0i64), Just(-1), any::<i64>()].prop_map(Value::from),
        prop::sample::select(
            &[
                "",
                "host",
                "/:/x",
                "a",
                "/var/run/docker.sock:/var/run/docker.sock",
                "volume",
                "bind",
                "80/tcp"
            ][..]
        )
        .prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(NAMES), inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

/// A body that is right but for one field somewhere.
fn nearly_right() -> impl Strategy<Value = Value> {
    (
        prop::sample::select(NAMES),
        values(),
        any::<bool>(),
        prop::sample::select(&["", "echo"][..]),
    )
        .prop_map(|(name, value, inside, word)| {
            let mut body = json!({
                "Image": "a", "Cmd": [word], "Env": ["A=1"], "Tty": false,
                "HostConfig": { "Memory": 8388608, "Tmpfs": { "/x": "" }, "AutoRemove": true },
            });
            let place = if inside {
                &mut body["HostConfig"]
            } else {
                &mut body
            };
            place[name] = value;
            body
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_makes_an_unlisted_field_reach_the_daemon(body in values()) {
        if let Ok(body) = through(&body.to_string(), &spawn()) {
            holds(&body)?;
        }
    }

    #[test]
    fn no_single_field_makes_an_unlisted_field_reach_the_daemon(body in nearly_right()) {
        if let Ok(body) = through(&body.to_string(), &spawn()) {
            holds(&body)?;
        }
    }

    #[test]
    fn no_bytes_break_the_parsers(
        bytes in prop::collection::vec(any::<u8>(), 0..200), path in "[/a-z.%0-9]{0,40}", query in ".{0,40}",
    ) {
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Ok(body) = through(text, &spawn())
        {
            holds(&body)?;
        }
        drop(skep_grant::target("GET", &path, Some(&query)));
        drop(skep_grant::Filters::parse(&query, &["label"]));
    }
}

#[test]
fn the_nearly_right_body_is_right_without_the_field() {
    let body = json!({
        "Image": "a", "Cmd": ["echo"], "HostConfig": { "Memory": 8388608, "Tmpfs": { "/x": "" }, "AutoRemove": true },
    });
    holds(&through(&body.to_string(), &spawn()).unwrap()).unwrap();
}
