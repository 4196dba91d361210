//! A prune deletes parked containers, and they come back; on the real engine, with filters that match this test's
//! own containers only.

use std::time::Duration;

use crate::common::{IMAGE, Watch};
use serde_json::{Value, json};
use skep_catalogue::Catalogue;
use skep_testing::Docker;

/// What the engine says of the container with this name, without what is another's with every creation.
fn definition(docker: &Docker, name: &str) -> Value {
    let mut inspect: Vec<Value> = serde_json::from_str(&docker.run(&["inspect", name])).unwrap();
    let inspect = inspect[0].as_object_mut().unwrap();
    let id = inspect["Id"].as_str().unwrap().to_owned();
    let mut kept = serde_json::Map::new();
    for key in [
        "Name",
        "Image",
        "Config",
        "HostConfig",
        "NetworkSettings",
        "Path",
        "Args",
        "State",
    ] {
        kept.insert(key.to_owned(), inspect[key].clone());
    }
    kept["Config"]["Hostname"] = kept["Config"]["Hostname"]
        .as_str()
        .unwrap()
        .replace(&id[..12], "ID")
        .into();
    let text = Value::Object(kept).to_string().replace(&id[..12], "ID");
    said(serde_json::from_str(&text).unwrap())
}

/// The engine remembers whether nothing was said as null or as an empty list; both mean the same.
fn said(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let empty =
                |value: &Value| matches!(value, Value::Null) || *value == json!({}) || *value == json!([]);
            let said = fields.into_iter().map(|(key, mut value)| {
                if key == "Aliases"
                    && let Value::Array(names) = &mut value
                {
                    names.sort_by_key(Value::to_string);
                }
                (key, said(value))
            });
            said.filter(|(_, value)| !empty(value)).collect()
        }
        other => other,
    }
}

#[tokio::test]
async fn pruned_templates_are_put_back_exactly_as_they_were() {
    let docker = Docker::new("prune");
    let one = docker.network("one", &["--subnet", "10.213.7.0/24"]);
    let two = docker.network("two", &[]);
    let names: Vec<String> = ["rich", "plain", "bare"]
        .map(|n| format!("{}-{n}", docker.namespace()))
        .into();
    let id = docker.create(&[
        "--name",
        &names[0],
        "--label",
        "skep.function=rich",
        "--label",
        "empty=",
        "--network",
        &one,
        "--network-alias",
        "db",
        "--ip",
        "10.213.7.9",
        "--label",
        "skep.max=1",
        "-e",
        "A=1",
        "-e",
        "B=",
        "--env",
        "PORT=81",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--cap-add",
        "NET_RAW",
        "--cap-drop",
        "ALL",
        "--read-only",
        "--tmpfs",
        "/run",
        "-v",
        "/tmp:/host:ro",
        "-v",
        "/anonymous",
        "--user",
        "12:34",
        "-w",
        "/tmp",
        "--hostname",
        "chosen",
        "--add-host",
        "a:1.2.3.4",
        "--dns",
        "1.1.1.1",
        "--init=false",
        "--ulimit",
        "nofile=10:20",
        "--sysctl",
        "net.core.somaxconn=99",
        "--security-opt",
        "no-new-privileges",
        "--stop-signal",
        "SIGINT",
        "--stop-timeout",
        "0",
        "--shm-size",
        "1m",
        "--memory-swappiness",
        "0",
        "--entrypoint",
        "",
        "--health-cmd",
        "true",
        "--log-opt",
        "max-size=1m",
        "--expose",
        "81",
        "--pids-limit",
        "7",
        "--restart",
        "on-failure:3",
        IMAGE,
        "cat",
        "-u",
    ]);
    docker.run(&["network", "connect", "--alias", "second", &two, &id]);
    docker.create(&[
        "--name",
        &names[1],
        "--label",
        "skep.function=plain",
        "--network",
        "none",
        IMAGE,
        "true",
    ]);
    docker.create(&[
        "--name",
        &names[2],
        "--label",
        "skep.function=bare",
        IMAGE,
        "true",
    ]);
    let before: Vec<Value> = names.iter().map(|name| definition(&docker, name)).collect();
    let mut watch = Watch::start(docker.namespace()).await;
    let old = docker.containers("skep.function");
    let revision = watch.now().function("rich").unwrap().revision.clone();

    docker.prune();
    let begin = std::time::Instant::now();
    let (catalogue, _) = watch
        .until(|now| {
            let is_new = |function: &skep_model::Function| !old.contains(&function.template.id.0.to_string());
            now.functions().count() == 3 && now.functions().all(|function| is_new(function))
        })
        .await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "put back after {:?}",
        begin.elapsed()
    );
    assert_eq!(catalogue.function("rich").unwrap().revision, revision);
    for (name, before) in names.iter().zip(before) {
        assert_eq!(definition(&docker, name), before, "{name}");
    }
}

#[tokio::test]
async fn a_prune_of_a_few_templates_takes_no_function_out_of_force() {
    let docker = Docker::new("served");
    let id = docker.create(&["--label", "skep.function=f", IMAGE, "true"]);
    let mut watch = Watch::start(docker.namespace()).await;
    let mut seen = watch.discovery.catalogue();
    seen.borrow_and_update();
    docker.prune();
    loop {
        seen.changed().await.unwrap();
        let now = seen.borrow_and_update().clone();
        let function = now.function("f").expect("out of force");
        if *function.template.id.0 != *id {
            break;
        }
    }
    watch.until(|now| now.function("f").is_some()).await;
}

#[tokio::test]
async fn templates_are_put_back_after_each_of_several_prunes() {
    let docker = Docker::new("again");
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        docker.create(&["--label", &format!("skep.function={name}"), IMAGE, "true"]);
    }
    let mut watch = Watch::start(docker.namespace()).await;
    let lock = docker.lock_prunes();
    for _ in 0..4 {
        let before = docker.containers("skep.function");
        docker.prune_with(&lock);
        let is_new = |f: &skep_model::Function| !before.contains(&f.template.id.0.to_string());
        watch
            .until(|now| now.functions().count() == names.len() && now.functions().all(|f| is_new(f)))
            .await;
    }
}

#[tokio::test]
async fn of_two_templates_of_one_name_the_newer_is_in_force_after_a_prune_too() {
    let docker = Docker::new("order");
    docker.create(&["--label", "skep.function=f", IMAGE, "old"]);
    let new = docker.create(&["--label", "skep.function=f", IMAGE, "new"]);
    let mut watch = Watch::start(docker.namespace()).await;
    let before = watch.now().function("f").unwrap().clone();
    assert_eq!(&*before.template.id.0, new);

    docker.prune();
    let back = |now: &Catalogue| {
        now.superseded().len() == 1
            && now
                .function("f")
                .is_some_and(|f| f.template.id != before.template.id)
            && now.superseded()[0].template.id != before.template.id
    };
    let (catalogue, _) = watch.until(back).await;
    assert_eq!(catalogue.function("f").unwrap().revision, before.revision);
    // A watch that begins now knows only the new times of creation.
    drop(watch);
    let watch = Watch::start(docker.namespace()).await;
    assert_eq!(watch.now().function("f").unwrap().revision, before.revision);
}

#[tokio::test]
async fn what_was_removed_by_name_stays_gone_after_a_prune_that_follows() {
    let docker = Docker::new("byname");
    let older = docker.create(&["--label", "skep.function=older", IMAGE, "true"]);
    let newer = docker.create(&["--label", "skep.function=newer", IMAGE, "true"]);
    let mut watch = Watch::start(docker.namespace()).await;
    let lock = docker.lock_prunes();
    // Removed before the newer one although older: a prune would have begun with the newer.
    docker.run(&["rm", &older]);
    docker.prune_with(&lock);
    let is_back = |now: &Catalogue| now.function("newer").is_some_and(|f| *f.template.id.0 != *newer);
    watch
        .until(|now| is_back(now) && now.function("older").is_none())
        .await;
    assert_eq!(docker.containers("skep.function=older").len(), 0);
}
