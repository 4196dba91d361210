//! Whatever comes in, what goes on has only fields from this list.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{self, Body, judge};
use super::{spawn, through};

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

fn holds(body: &Value) -> Result<(), TestCaseError> {
    judge(Body::Create, body).map_err(TestCaseError::fail)
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

/// A body of the calls that have few fields, most of them right.
fn small() -> impl Strategy<Value = Value> {
    const FIELDS: &[&str] = &[
        "Cmd",
        "Tty",
        "Detach",
        "Container",
        "Force",
        "User",
        "Privileged",
        "privileged",
        "Extra",
    ];
    let value = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!("x")),
        Just(json!(["x"])),
        Just(Value::Null),
    ];
    prop::collection::vec((prop::sample::select(FIELDS), value), 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
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
    fn no_body_of_any_call_makes_an_unlisted_field_reach_the_daemon(body in values(), fields in small()) {
        for kind in support::ALL {
            for body in [&body, &fields] {
                if let Some(written) = support::written(kind, body.to_string().as_bytes()) {
                    prop_assert!(!support::paths(kind, &written).is_empty());
                    judge(kind, &written).map_err(TestCaseError::fail)?;
                }
            }
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
