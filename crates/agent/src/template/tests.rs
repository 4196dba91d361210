use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn definition(labels: &[(&str, &str)]) -> Definition {
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let mut labels: BTreeMap<String, String> = labels.iter().map(text).collect();
    labels.insert("skep.function".to_owned(), "hello".to_owned());
    Definition {
        revision: "0123456789ab".to_owned(),
        service: "service".to_owned(),
        service_name: "stack_hello".to_owned(),
        created: "2026-01-02T03:04:05Z".parse().unwrap(),
        labels,
        entrypoint: None,
        arguments: None,
        slots: 16,
        memory: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        pids: None,
        init: None,
    }
}

/// A task as its engine shows it.
fn task(definition: &Definition, number: u32) -> ContainerInspectResponse {
    let definition = serde_json::to_string(definition).unwrap();
    let inspect = json!({
        "Id": "0123456789abcdef",
        "Image": "sha256:1",
        "State": {"Status": "running", "StartedAt": "2026-01-02T03:04:06Z", "Pid": 7},
        "Config": {
            "Image": "hello", "Entrypoint": ["/.skep-pause"], "Hostname": "0123456789ab",
            "ExposedPorts": {"80/tcp": {}, "81/tcp": {}},
            "Labels": {
                "own": "kept", "skep.sandbox": "hello", "skep.definition": definition,
                "com.docker.swarm.task.id": "task",
                "com.docker.swarm.task.name": format!("skep-default-hello.{number}.task"),
            },
        },
        "HostConfig": {
            "NetworkMode": "default", "Memory": 1_u64 << 30, "MemorySwap": 2_u64 << 30,
            "NanoCpus": 8_000_000_000_u64, "PidsLimit": 1600, "Dns": ["10.0.0.1"],
        },
        "NetworkSettings": {"Networks": {"net": {"IPAMConfig": {"IPv4Address": "10.0.1.5"}}}},
        "Mounts": [{"Type": "volume", "Name": "v", "Destination": "/data"}],
    });
    serde_json::from_value(inspect).unwrap()
}

fn template_of(read: &Read) -> Value {
    serde_json::from_str(&read.function.template.inspect).unwrap()
}

fn image() -> ImageCommand {
    ImageCommand {
        entrypoint: Some(vec!["/entry".to_owned()]),
        arguments: Some(vec!["image".to_owned()]),
    }
}

#[test]
fn a_task_is_the_function_of_its_service() {
    let definition = definition(&[("skep.max", "20")]);
    let read = super::read(task(&definition, 2), &image(), &[]).unwrap();
    let function = &read.function;
    assert_eq!(function.name.as_str(), "hello");
    assert_eq!(function.revision.as_str(), "0123456789ab");
    assert_eq!(function.template.name, "stack_hello");
    assert_eq!(function.template.network_mode, "container:0123456789abcdef");
    assert!(!function.template.fixed_address);
    assert_eq!(function.template.exposed_tcp, [80, 81]);
    assert_eq!((read.slots, function.settings.max), (10, 10));
    assert!(!read.alone);
    assert_eq!(read.task, "task");
    let template = template_of(&read);
    assert_eq!(template["Config"]["Entrypoint"], json!(["/entry"]));
    assert_eq!(template["Config"]["Cmd"], json!(["image"]));
    assert_eq!(template["Config"]["Labels"], json!({"own": "kept"}));
    assert_eq!(template["Config"]["ExposedPorts"], Value::Null);
    assert_eq!(template["HostConfig"]["Dns"], Value::Null);
}

#[test]
fn limits_are_an_instances_own_again() {
    let read = super::read(task(&definition(&[]), 1), &image(), &[]).unwrap();
    let host = &template_of(&read)["HostConfig"];
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["MemorySwap"], 128 << 20);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["PidsLimit"], Value::Null);
    assert_eq!(read.function.template.memory, Some(64 << 20));
}

#[test]
fn the_services_command_goes_before_the_images() {
    let commands = [
        (None, Some("mine"), json!(["/entry"]), json!(["mine"])),
        (Some("/own"), None, json!(["/own"]), Value::Null),
        (Some("/own"), Some("mine"), json!(["/own"]), json!(["mine"])),
    ];
    let words = |word: Option<&str>| word.map(|word| vec![word.to_owned()]);
    for (entrypoint, arguments, expected_entrypoint, expected_arguments) in commands {
        let definition = Definition {
            entrypoint: words(entrypoint),
            arguments: words(arguments),
            ..definition(&[])
        };
        let read = super::read(task(&definition, 1), &image(), &[]).unwrap();
        let config = &template_of(&read)["Config"];
        assert_eq!(config["Entrypoint"], expected_entrypoint);
        assert_eq!(config["Cmd"], expected_arguments);
    }
}

#[test]
fn where_only_one_can_listen_one_runs_at_a_time() {
    for labels in [[("skep.port", "80")], [("skep.sandbox", "private")]] {
        let read = super::read(task(&definition(&labels), 1), &image(), &[]).unwrap();
        assert_eq!((read.slots, read.alone), (1, true), "{labels:?}");
    }
    // What the image exposes, where nothing else is said.
    let mut exposing = task(&definition(&[]), 1);
    exposing.config.as_mut().unwrap().exposed_ports = Some(vec!["80/tcp".to_owned()]);
    let read = super::read(exposing, &image(), &[]).unwrap();
    assert_eq!((read.slots, read.alone), (1, true));
    let mut task = task(&definition(&[]), 1);
    task.host_config.as_mut().unwrap().cap_add = Some(vec!["CAP_NET_RAW".to_owned()]);
    assert_eq!(super::read(task, &image(), &[]).unwrap().slots, 1);
}

#[test]
fn secrets_are_shown_to_both_engines() {
    let shown = Shown {
        file: Given {
            target: "/run/secrets/s".to_owned(),
            name: "id".to_owned(),
        },
        copy: "/memory/0".to_owned(),
        dockers: "/docker/id".to_owned(),
    };
    let read = super::read(task(&definition(&[]), 1), &image(), &[shown]).unwrap();
    let template = template_of(&read);
    assert_eq!(template["Mounts"][1]["Source"], "/memory/0");
    assert_eq!(template["Mounts"][1]["Destination"], "/run/secrets/s");
    assert_eq!(template["HostConfig"]["Mounts"][0]["Source"], "/docker/id");
    assert_eq!(template["HostConfig"]["Mounts"][0]["ReadOnly"], true);
}

#[test]
fn a_container_that_is_no_task_is_refused() {
    let mut task = task(&definition(&[]), 1);
    let labels = task.config.as_mut().unwrap().labels.as_mut().unwrap();
    labels.remove("com.docker.swarm.task.name");
    let refused = super::read(task, &image(), &[]);
    assert!(matches!(refused, Err(Unreadable::NoNumber)));
}
