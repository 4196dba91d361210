//! What is refused, and that the sentence says what is missing.

use skep_grant::{ExecCreate, Image, Json};
use skep_model::{PortRange, Spawn};

use super::{refused, spawn, through};

#[test]
fn every_way_out_of_a_container_is_refused_by_name() {
    for (field, value) in [
        ("Privileged", "true"),
        ("CapAdd", r#"["SYS_ADMIN"]"#),
        ("CapAdd", r#"["ALL"]"#),
        (
            "Devices",
            r#"[{"PathOnHost":"/dev/sda","PathInContainer":"/x","CgroupPermissions":"rwm"}]"#,
        ),
        ("DeviceCgroupRules", r#"["a *:* rwm"]"#),
        ("DeviceRequests", r#"[{"Count":-1}]"#),
        ("PidMode", r#""host""#),
        ("PidMode", r#""container:x""#),
        ("IpcMode", r#""host""#),
        ("UTSMode", r#""host""#),
        ("UsernsMode", r#""host""#),
        ("CgroupnsMode", r#""host""#),
        ("NetworkMode", r#""host""#),
        ("NetworkMode", r#""other""#),
        ("Binds", r#"["/:/host"]"#),
        ("Binds", r#"["/var/run/docker.sock:/somewhere/else"]"#),
        ("Binds", r#"["../x:/host"]"#),
        ("Binds", r#"["volume:/v"]"#),
        ("Tmpfs", r#"{"/proc/sys":""}"#),
        ("Mounts", r#"[{"Type":"tmpfs","Target":"/sys/fs/cgroup"}]"#),
        ("Mounts", r#"[{"Type":"bind","Source":"/","Target":"/host"}]"#),
        (
            "Mounts",
            r#"[{"Type":"volume","Source":"","Target":"/v","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"none","o":"bind","device":"/"}}}}]"#,
        ),
        ("Mounts", r#"[{"Type":"volume","Source":"other","Target":"/v"}]"#),
        ("Mounts", r#"[{"Type":"npipe","Source":"x","Target":"/v"}]"#),
        ("SecurityOpt", r#"["seccomp=unconfined"]"#),
        ("SecurityOpt", r#"["apparmor:unconfined"]"#),
        ("SecurityOpt", r#"["systempaths=unconfined"]"#),
        ("CgroupParent", r#""/""#),
        ("Runtime", r#""runc""#),
        ("Sysctls", r#"{"kernel.shm_rmid_forced":"1"}"#),
        ("VolumesFrom", r#"["other"]"#),
        ("Links", r#"["other:x"]"#),
        ("MaskedPaths", "[]"),
        ("ReadonlyPaths", "[]"),
        ("OomKillDisable", "true"),
        ("OomScoreAdj", "-1000"),
        ("PidsLimit", "1000000"),
        ("Memory", "100000000000"),
        ("Memory", "1"),
        ("MemorySwap", "-1"),
        ("NanoCpus", "64000000000"),
        ("CpuQuota", "10000000"),
        ("CpuShares", "200000"),
        ("ShmSize", "100000000000"),
        ("PortBindings", r#"{"80/tcp":[{"HostPort":"80"}]}"#),
        ("PortBindings", r#"{"80/tcp":[{}]}"#),
        ("PublishAllPorts", "true"),
        ("Ulimits", r#"[{"Name":"memlock","Soft":-1,"Hard":-1}]"#),
        ("Ulimits", r#"[{"Name":"rtprio","Soft":99,"Hard":99}]"#),
        (
            "LogConfig",
            r#"{"Type":"syslog","Config":{"syslog-address":"tcp://x"}}"#,
        ),
        ("StorageOpt", r#"{"size":"1000G"}"#),
        ("Annotations", r#"{"run.oci.keep":"1"}"#),
        ("Tmpfs", r#"{"/x":"size=1m,dev"}"#),
        ("VolumeDriver", r#""nfs""#),
    ] {
        let refusal = refused(&format!(r#"{{"HostConfig":{{"{field}":{value}}}}}"#));
        assert_eq!(refusal.status, 403, "{field}={value}: {refusal}");
        assert!(!refusal.message.is_empty());
    }
}

#[test]
fn labels_of_skep_and_docker_are_nobodys_to_set() {
    for label in [
        "skep.owner",
        "skep.child-of",
        "SKEP.function",
        "com.docker.compose.project",
    ] {
        let refusal = refused(&format!(r#"{{"Labels":{{"{label}":"x"}}}}"#));
        assert_eq!(refusal.status, 403, "{label}");
    }
}

#[test]
fn a_key_that_the_daemon_would_read_as_another_is_refused() {
    for body in [
        r#"{"HostConfig":{"privileged":true}}"#,
        r#"{"HostConfig":{"PRIVILEGED":false}}"#,
        r#"{"hostconfig":{"Privileged":true}}"#,
        // U+017F and U+212A fold to s and k in Go.
        "{\"Ho\u{17f}tConfig\":{\"Privileged\":true}}",
        "{\"HostConfig\":{\"Networ\u{212a}Mode\":\"host\"}}",
        r#"{"HostConfig":{"Privileged":false,"Privileged":true}}"#,
        r#"{"HostConfig":{},"HostConfig":{"Privileged":true}}"#,
        r#"{"HostConfig":{"Priv\u0069leged":true}}"#,
        r#"{"HostConfig":{"SomethingNew":null}}"#,
        r#"{"Labels":{"a":"1","a":"2"}}"#,
        r#"{"Image":"a"}{"HostConfig":{"Privileged":true}}"#,
    ] {
        let refusal = refused(body);
        assert!(matches!(refusal.status, 400 | 403), "{body}: {refusal}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    for body in [
        "[]",
        "1",
        "\"x\"",
        "nul",
        "{\"Cmd\":{}}",
        "{\"HostConfig\":[]}",
        "{\"HostConfig\":{\"Privileged\":\"false\"}}",
        "{\"HostConfig\":{\"Privileged\":0}}",
        "{\"HostConfig\":{\"Memory\":1e300}}",
        "{\"HostConfig\":{\"Binds\":\"/:/x\"}}",
        "{\"Env\":[1]}",
        "{\"Image\":\"a\\u0000b\"}",
    ] {
        assert!(matches!(refused(body).status, 400 | 403), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(refused(&deep).status, 400);
    let large = format!("{{\"Image\":\"{}\"}}", "x".repeat(256 << 10));
    assert_eq!(refused(&large).status, 400);
}

#[test]
fn what_was_granted_goes_through_and_nothing_beside_it() {
    let spawn = Spawn {
        networks: vec!["backend".to_owned()],
        volumes: vec!["data".to_owned()],
        ports: vec![PortRange {
            first: 8000,
            last: 8010,
        }],
        ..spawn()
    };
    for (body, allowed) in [
        (r#"{"HostConfig":{"Binds":["data:/d:ro"]}}"#, true),
        (r#"{"HostConfig":{"Binds":["data2:/d"]}}"#, false),
        (r#"{"HostConfig":{"Binds":["data:/d:shared"]}}"#, false),
        (
            r#"{"HostConfig":{"Mounts":[{"Type":"volume","Source":"data","Target":"/d"}]}}"#,
            true,
        ),
        (r#"{"HostConfig":{"NetworkMode":"backend"}}"#, true),
        (r#"{"HostConfig":{"NetworkMode":"frontend"}}"#, false),
        (
            r#"{"NetworkingConfig":{"EndpointsConfig":{"backend":{"Aliases":["db"]}}}}"#,
            false,
        ),
        (
            r#"{"NetworkingConfig":{"EndpointsConfig":{"backend":{"IPAMConfig":{"IPv4Address":"10.0.0.1"}}}}}"#,
            false,
        ),
        (
            r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"8005"}]}}}"#,
            true,
        ),
        (
            r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"8011"}]}}}"#,
            false,
        ),
        (
            r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":""}]}}}"#,
            false,
        ),
        (
            r#"{"HostConfig":{"Binds":["/var/run/docker.sock:/var/run/docker.sock"]}}"#,
            true,
        ),
    ] {
        assert_eq!(through(body, &spawn).is_ok(), allowed, "{body}");
    }
}

#[test]
fn an_exec_gives_no_more_rights_than_the_child_has() {
    for body in [
        r#"{"Privileged":true}"#,
        r#"{"privileged":true}"#,
        r#"{"Cmd":["a"],"Else":1}"#,
    ] {
        assert_eq!(
            ExecCreate::parse(Json::parse(body.as_bytes()).unwrap())
                .unwrap_err()
                .status,
            403
        );
    }
}

#[test]
fn what_costs_the_host_something_for_each_is_held_to_a_number() {
    let spawn = Spawn {
        ports: vec![PortRange { first: 80, last: 80 }],
        ..spawn()
    };
    let list = |count: usize, item: &dyn Fn(usize) -> String| {
        let items: Vec<String> = (0..count).map(item).collect();
        items.join(",")
    };
    let bodies = |count: usize| {
        [
            format!(
                r#"{{"HostConfig":{{"PortBindings":{{"80/tcp":[{}]}}}}}}"#,
                list(count, &|n| format!(
                    r#"{{"HostIp":"127.0.1.{n}","HostPort":"80"}}"#
                ))
            ),
            format!(
                r#"{{"Volumes":{{{}}}}}"#,
                list(count, &|n| format!(r#""/v{n}":{{}}"#))
            ),
            format!(
                r#"{{"HostConfig":{{"Mounts":[{}]}}}}"#,
                list(count, &|n| format!(r#"{{"Type":"volume","Target":"/v{n}"}}"#))
            ),
            format!(
                r#"{{"HostConfig":{{"Tmpfs":{{{}}}}}}}"#,
                list(count, &|n| format!(r#""/v{n}":"""#))
            ),
            format!(
                r#"{{"ExposedPorts":{{{}}}}}"#,
                list(count, &|n| format!(r#""{}/tcp":{{}}"#, n + 1))
            ),
        ]
    };
    for body in bodies(64) {
        through(&body, &spawn).expect(&body);
    }
    for body in bodies(65) {
        let refusal = through(&body, &spawn).expect_err(&body);
        assert!(refusal.message.contains("at most 64"), "{refusal}");
    }
}

#[test]
fn an_image_is_granted_by_its_whole_name() {
    let entries = [
        "debian:bookworm-slim".to_owned(),
        "tool".to_owned(),
        "node:*".to_owned(),
    ];
    for (name, granted) in [
        ("debian:bookworm-slim", true),
        ("docker.io/library/debian:bookworm-slim", true),
        ("library/debian:bookworm-slim", true),
        ("docker.io/debian:bookworm-slim", true),
        ("index.docker.io/debian:bookworm-slim", true),
        ("index.docker.io/library/debian:bookworm-slim", true),
        ("docker.io/evil/debian:bookworm-slim", false),
        ("debian", false),
        ("debian:bookworm", false),
        ("evil.example.com/debian:bookworm-slim", false),
        ("evil/debian:bookworm-slim", false),
        ("tool", true),
        ("tool:latest", true),
        ("tool:2", false),
        ("node:18", true),
        ("debian@sha256:0123", false),
    ] {
        assert_eq!(
            Image::parse(name).unwrap().is_granted(&entries),
            granted,
            "{name}"
        );
    }
    for name in ["", "a b", "../x", "a//b", "a:b:c", "a:", "a@b@c"] {
        assert!(Image::parse(name).is_err(), "{name}");
    }
}
