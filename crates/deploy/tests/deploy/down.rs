use crate::harness::{Sandbox, docker, states};
use skep_deploy::{DownOptions, Event, down};

const PROJECT: &str = "
services:
  app:
    image: debian:bookworm-slim
    command: sleep infinity
    init: true
    depends_on: [database]
    volumes: ['data:/data']
  database:
    image: debian:bookworm-slim
    command: sleep infinity
    init: true
  hello:
    image: debian:bookworm-slim
    labels: {skep.function: hello, skep.handler: exec, skep.namespace: nobody-serves-this}
volumes: {data: }
";

#[tokio::test]
async fn everything_goes_dependents_first_and_volumes_only_on_request() {
    let sandbox = Sandbox::new("down").await;
    sandbox.up(PROJECT).await;
    sandbox.progress.events();
    sandbox.down(false).await;
    assert_eq!(sandbox.containers(), states(&[]));
    let removed: Vec<String> = sandbox
        .progress
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Removed { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    let place = |service: &str| {
        let name = format!("{}-{service}-1", sandbox.name);
        removed
            .iter()
            .position(|removed| *removed == name)
            .expect("removed")
    };
    assert!(place("app") < place("database"), "{removed:?}");
    assert_eq!(removed.last(), Some(&format!("{}_default", sandbox.name)));
    let volume = format!("{}_data", sandbox.name);
    assert_eq!(
        docker(&["volume", "inspect", "--format", "{{.Name}}", &volume]),
        volume
    );
    sandbox.down(true).await;
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", &format!("name={volume}")]),
        ""
    );
}

#[tokio::test]
async fn a_network_that_strangers_use_is_left_with_a_note() {
    let sandbox = Sandbox::new("stranger").await;
    sandbox.up(PROJECT).await;
    let network = format!("{}_default", sandbox.name);
    let project = format!("com.docker.compose.project={}", sandbox.name);
    let stranger = docker(&[
        "run",
        "-d",
        "--rm",
        "--init",
        "--network",
        &network,
        "--label",
        "test=stranger",
        "debian:bookworm-slim",
        "sleep",
        "infinity",
    ]);
    sandbox.down(true).await;
    let noted = sandbox
        .progress
        .has(|event| matches!(event, Event::Note { text } if text.contains("is left, since")));
    docker(&["rm", "-f", &stranger]);
    assert!(noted);
    let left = docker(&["ps", "-aq", "--filter", &format!("label={project}")]);
    assert_eq!(left, "");
}

#[tokio::test]
async fn instances_may_finish_before_their_network_goes() {
    let sandbox = Sandbox::new("instance").await;
    sandbox.up(PROJECT).await;
    let network = format!("{}_default", sandbox.name);
    let owner = format!("skep.owner={}", sandbox.name);
    docker(&[
        "run",
        "-d",
        "--rm",
        "--init",
        "--network",
        &network,
        "--label",
        &owner,
        "debian:bookworm-slim",
        "sleep",
        "2",
    ]);
    sandbox.down(true).await;
    assert!(
        sandbox
            .progress
            .has(|event| matches!(event, Event::Waiting { name, .. } if *name == network))
    );
    assert!(
        sandbox
            .progress
            .has(|event| matches!(event, Event::Removed { name, .. } if *name == network))
    );
}

#[tokio::test]
async fn containers_of_other_services_are_left_as_orphans() {
    let sandbox = Sandbox::new("others").await;
    sandbox.up(PROJECT).await;
    let mut project = sandbox.load(PROJECT);
    project.services.remove("hello");
    let options = DownOptions::for_project(&project);
    down(&sandbox.docker, &options, &sandbox.progress)
        .await
        .expect("the rest goes down");
    assert_eq!(sandbox.containers(), states(&[("hello-1", "created")]));
}

#[tokio::test]
async fn going_down_twice_is_no_error() {
    let sandbox = Sandbox::new("twice").await;
    sandbox.down(true).await;
}
