//! `docker create` deploys and `docker rm` undeploys, on the real engine.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{IMAGE, Watch};
use skep_testing::Docker;

/// DESIGN promises 200 ms; the rest is for a machine that runs all tests at once.
const SOON: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn create_alone_deploys_and_rm_alone_undeploys_at_once() {
    let docker = Docker::new("deploy");
    let mut watch = Watch::start(docker.namespace()).await;
    assert_eq!(watch.now().functions().count(), 0);

    let id = docker.create(&[
        "--label",
        "skep.function=hello",
        "--label",
        "skep.handler=exec",
        IMAGE,
        "echo",
    ]);
    let (catalogue, seen) = watch
        .until(|catalogue| catalogue.function("hello").is_some())
        .await;
    assert!(seen < SOON, "seen after {seen:?}");
    assert_eq!(&*catalogue.function("hello").unwrap().template.id.0, id);

    docker.remove(&id);
    let (_, seen) = watch
        .until(|catalogue| catalogue.function("hello").is_none())
        .await;
    assert!(seen < SOON, "seen after {seen:?}");
}

#[tokio::test]
async fn what_stood_before_the_watch_began_is_there_once_it_is_listed() {
    let docker = Docker::new("before");
    docker.create(&["--label", "skep.function=one", IMAGE, "true"]);
    docker.create(&["--label", "skep.function=two", IMAGE, "true"]);
    let watch = Watch::start(docker.namespace()).await;
    assert_eq!(watch.now().functions().count(), 2);
    assert!(watch.discovery.connection().borrow().connected);
}

#[tokio::test]
async fn two_equal_templates_have_one_revision_and_another_command_has_another() {
    let docker = Docker::new("revision");
    let labels = ["--label", "skep.function=same", "--label", "skep.handler=exec"];
    docker.create(&[&labels[..], &[IMAGE, "echo", "1"]].concat());
    let mut watch = Watch::start(docker.namespace()).await;
    let first = watch.now().function("same").unwrap().revision.clone();

    let second = docker.create(&[&labels[..], &[IMAGE, "echo", "1"]].concat());
    let (catalogue, _) = watch
        .until(|now| now.function("same").is_some_and(|f| *f.template.id.0 == *second))
        .await;
    assert_eq!(catalogue.function("same").unwrap().revision, first);

    let third = docker.create(&[&labels[..], &[IMAGE, "echo", "2"]].concat());
    let (catalogue, _) = watch
        .until(|now| now.function("same").is_some_and(|f| *f.template.id.0 == *third))
        .await;
    assert_ne!(catalogue.function("same").unwrap().revision, first);
}

#[tokio::test]
async fn the_newest_valid_template_of_a_name_is_in_force() {
    let docker = Docker::new("newest");
    let old = docker.create(&["--label", "skep.function=f", IMAGE, "old"]);
    let mut watch = Watch::start(docker.namespace()).await;

    let invalid = docker.create(&[
        "--label",
        "skep.function=f",
        "--label",
        "skep.handler=no",
        IMAGE,
        "new",
    ]);
    watch.reasons(&invalid).await;
    assert_eq!(
        &*watch.now().function("f").unwrap().template.id.0,
        old,
        "the older valid one stays"
    );

    let new = docker.create(&["--label", "skep.function=f", IMAGE, "new"]);
    watch
        .until(|now| now.function("f").is_some_and(|f| *f.template.id.0 == *new))
        .await;
    docker.remove(&new);
    watch
        .until(|now| now.function("f").is_some_and(|f| *f.template.id.0 == *old))
        .await;
}

#[tokio::test]
async fn a_template_that_was_started_is_no_longer_one() {
    let docker = Docker::new("started");
    let id = docker.create(&[
        "--label",
        "skep.function=f",
        "--label",
        "skep.handler=exec",
        IMAGE,
        "true",
    ]);
    let mut watch = Watch::start(docker.namespace()).await;
    assert!(watch.now().function("f").is_some());
    docker.run(&["start", &id]);
    assert!(watch.reasons(&id).await.contains("started once"));
    assert!(watch.now().function("f").is_none());
}

#[tokio::test]
async fn a_change_of_memory_or_networks_is_another_revision() {
    let docker = Docker::new("update");
    let id = docker.create(&["--label", "skep.function=f", "-m", "64m", IMAGE, "true"]);
    let mut watch = Watch::with(
        docker.namespace(),
        Duration::from_millis(200),
        Arc::new(|_| Vec::new()),
    )
    .await;
    let first = watch.now().function("f").unwrap().clone();
    assert_eq!(first.template.memory, Some(64 << 20));

    docker.run(&["update", "-m", "96m", "--memory-swap", "192m", &id]);
    watch
        .until(|now| {
            now.function("f")
                .is_some_and(|f| f.template.memory == Some(96 << 20))
        })
        .await;

    let network = docker.network("more", &[]);
    docker.run(&["network", "connect", "--alias", "db", &network, &id]);
    let (catalogue, _) = watch
        .until(|now| {
            now.function("f")
                .is_some_and(|f| f.template.networks.contains(&network))
        })
        .await;
    assert_ne!(catalogue.function("f").unwrap().revision, first.revision);
}

#[tokio::test]
async fn networks_connected_right_after_creation_are_seen_without_waiting_for_the_list() {
    let docker = Docker::new("networks");
    let one = docker.network("one", &[]);
    let two = docker.network("two", &[]);
    let mut watch = Watch::start(docker.namespace()).await;
    let id = docker.create(&["--label", "skep.function=f", "--network", &one, IMAGE, "true"]);
    watch.until(|now| now.function("f").is_some()).await;
    docker.run(&["network", "connect", &two, &id]);
    watch
        .until(|now| now.function("f").is_some_and(|f| f.template.networks.len() == 2))
        .await;
}

#[tokio::test]
async fn what_the_engine_can_not_run_is_invalid_with_its_reasons() {
    let docker = Docker::new("supports");
    let id = docker.create(&["--label", "skep.function=f", IMAGE, "true"]);
    let supports: skep_discovery::Supports =
        Arc::new(|function| vec![format!("{} is out of reach", function.name)]);
    let mut watch = Watch::with(docker.namespace(), Duration::from_secs(600), supports).await;
    assert_eq!(watch.reasons(&id).await, "f is out of reach");
}
