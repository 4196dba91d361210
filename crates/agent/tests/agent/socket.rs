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
         [ \"$(docker run --rm {DEBIAN} hostname -i)\" = \"$(hostname -i)\" ] && echo in its network; \
         docker run --rm nowhere:1 echo no; docker logs left; docker kill left; docker wait left"
    );
    let said = run(&agent, &container, &script).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(&lines[..4], ["left", "inside", "ran", "in its network"], "{said}");
    assert!(said.contains("skep.spawn"), "{said}");
    assert!(said.ends_with("left\n137\n"), "{said}");
    let children = agent.ask("/v1/children").await;
    let page = agent.ask("/v1/invocations").await;
    let child = &children["children"][0];
    assert_eq!(child["invocation"], page["invocations"][0]["id"], "{children}");
    assert_eq!(child["state"], "exited", "{children}");
    assert_eq!(containers(&agent), 0, "the lean engine makes them");
}

/// How many of the children are containers of Docker's.
fn containers(agent: &Agent) -> usize {
    let filter = format!("label=skep.namespace={}", agent.docker.namespace());
    let words = [
        "ps",
        "-aq",
        "--filter",
        &filter,
        "--filter",
        "label=skep.child-of",
    ];
    agent.docker.run(&words).lines().count()
}

/// How many of a function's children run.
async fn running(agent: &Agent) -> usize {
    let children = agent.ask("/v1/children").await;
    let children = children["children"].as_array().expect("a list").iter();
    children.filter(|child| child["state"] == "running").count()
}

#[tokio::test]
async fn what_only_docker_gives_a_child_it_gives_in_the_tasks_network() {
    let agent = Agent::start("agent-dockers").await;
    let container = shell(&agent).await;
    let script = format!(
        "docker run -d --name own --restart on-failure {DEBIAN} sleep 300 >/dev/null
         docker run -d --name joins --network container:own {DEBIAN} sleep 300 >/dev/null
         for child in own joins; do [ \"$(docker exec $child hostname -i)\" = \"$(hostname -i)\" ] && echo so has $child; done
         lean=$(docker run -d {DEBIAN} sleep 300)
         docker run --rm --network container:$lean {DEBIAN} hostname -i >/tmp/it && echo \"so has $(comm -12 /tmp/it <(hostname -i) | wc -l)\""
    );
    let said = run(&agent, &container, &script).await;
    for line in ["so has own", "so has joins", "so has 1"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert_eq!(containers(&agent), 2, "{said}");
}

#[tokio::test]
async fn an_agent_that_is_to_end_lets_children_end_first() {
    let mut agent = Agent::start("agent-children-drain").await;
    let container = shell(&agent).await;
    let script = format!(
        "docker run -d --name last {DEBIAN} sh -c 'sleep 4; echo done' >/dev/null; docker ps -q | wc -l"
    );
    assert_eq!(run(&agent, &container, &script).await, "1\n");
    agent.terminate();
    assert!(agent.ended().await.success());
    agent.restart().await;
    agent.until(&container, |sandbox| sandbox.slots == 16).await;
    let said = run(&agent, &container, "docker logs last; docker wait last").await;
    assert_eq!(said, "done\n0\n");
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
    assert_eq!(running(&agent).await, 1);
    agent.deployed(&[]);
    eventually("the child goes", async || running(&agent).await == 0).await;
}
