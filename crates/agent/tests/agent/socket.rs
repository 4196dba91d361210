//! A function's Docker socket on a node of a Swarm.

use crate::support::{Agent, eventually};

const DEBIAN: &str = "debian:bookworm-slim";

/// A function that runs the script that it is given, with the docker command at hand.
async fn shell(agent: &Agent) -> String {
    let path = std::env::var_os("PATH").expect("a PATH");
    let docker = std::env::split_paths(&path)
        .map(|folder| folder.join("docker"))
        .find(|file| file.is_file());
    let docker = docker.expect("the docker command");
    let mount = format!("{}:/usr/local/bin/docker:ro", docker.display());
    let spawn = ("skep.spawn", DEBIAN);
    let labels = [("skep.handler", "exec"), ("skep.timeout", "100s"), spawn];
    let flags = ["-v", mount.as_str(), "-e", "HOME=/tmp"];
    agent
        .sandbox_of(DEBIAN, &labels, 16, &["bash", "-s"], &flags)
        .await
}

async fn run(agent: &Agent, container: &str, script: &str) -> String {
    let answer = agent
        .invoke(container, "/", &format!("exec 2>&1\n{script}\ntrue\n"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

#[tokio::test]
async fn a_function_starts_children_sees_them_and_ends_them() {
    let agent = Agent::start("agent-socket").await;
    let container = shell(&agent).await;
    let script = format!(
        "docker run -d --name left {DEBIAN} sleep 300 >/dev/null; docker ps --format '{{{{.Names}}}}'; \
         docker exec left echo inside; docker run --rm {DEBIAN} echo ran; \
         docker run --rm nowhere:1 echo no; docker logs left; docker kill left; docker wait left"
    );
    let said = run(&agent, &container, &script).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(&lines[..3], ["left", "inside", "ran"], "{said}");
    assert!(said.contains("skep.spawn"), "{said}");
    assert!(said.ends_with("left\n137\n"), "{said}");
    let children = agent.ask("/v1/children").await;
    let page = agent.ask("/v1/invocations").await;
    let child = &children["children"][0];
    assert_eq!(child["invocation"], page["invocations"][0]["id"], "{children}");
    assert_eq!(child["state"], "exited", "{children}");
    // In the task's own network: what the task reaches, they reach.
    let mode = agent.docker.run(&[
        "inspect",
        "-f",
        "{{.HostConfig.NetworkMode}}",
        child["id"].as_str().expect("an id"),
    ]);
    assert_eq!(mode, format!("container:{container}"));
}

#[tokio::test]
async fn what_children_may_have_is_held_over_all_nodes() {
    let agent = Agent::start("agent-budget").await;
    let container = shell(&agent).await;
    // Eight are granted, and the gateway knows of three elsewhere.
    let script = format!(
        "for i in 1 2 3 4 5 6; do docker run -d --name c$i {DEBIAN} sleep 300; done; docker ps -q | wc -l"
    );
    let said = run(&agent, &container, &script).await;
    assert!(said.contains("too many on all nodes"), "{said}");
    assert_eq!(said.lines().last(), Some("5"), "{said}");
    let again = format!("docker rm -f c1 c2; docker run -d {DEBIAN} sleep 300; docker ps -q | wc -l");
    let said = run(&agent, &container, &again).await;
    assert_eq!(said.lines().last(), Some("4"), "{said}");
}

#[tokio::test]
async fn children_outlive_their_functions_sandbox_and_go_with_the_function() {
    let agent = Agent::start("agent-strays").await;
    agent.deployed(&["hello"]);
    let container = shell(&agent).await;
    run(&agent, &container, &format!("docker run -d {DEBIAN} sleep 300")).await;
    agent.docker.run(&["kill", &container]);
    let filter = format!("label=skep.namespace={}", agent.docker.namespace());
    let children = || {
        let words = [
            "ps",
            "-q",
            "--filter",
            &filter,
            "--filter",
            "label=skep.child-of=hello",
        ];
        agent.docker.run(&words).lines().count()
    };
    let asked = agent
        .gateways
        .iter()
        .map(|gateway| gateway.asked())
        .sum::<usize>();
    eventually("gateways are asked what is deployed", async || {
        agent
            .gateways
            .iter()
            .map(|gateway| gateway.asked())
            .sum::<usize>()
            > asked + 4
    })
    .await;
    assert_eq!(children(), 1);
    agent.deployed(&[]);
    eventually("the child goes", async || children() == 0).await;
}
