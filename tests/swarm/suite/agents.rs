//! A node's agent and the launcher that keeps it.

use skep_swarm_tests::{Cluster, eventually, skep_image};

fn agent(cluster: &Cluster) -> Option<String> {
    let found = cluster.try_docker(
        1,
        &["inspect", "skep-agent", "--format", "{{.Id}} {{.State.Running}}"],
    );
    let (id, running) = found.stdout.split_once(' ')?;
    (running == "true").then(|| id.to_owned())
}

/// One that has its keys: a launcher that is killed before it handed them over is found out by the next one, which
/// starts another agent.
fn whole_agent(cluster: &Cluster) -> Option<String> {
    let id = agent(cluster)?;
    let said = cluster.try_docker(1, &["logs", &id]);
    let answers = |text: &str| text.contains(skep_wire::AGENT_ANSWERS);
    (answers(&said.stdout) || answers(&said.stderr)).then_some(id)
}

fn launcher(cluster: &Cluster) -> Option<String> {
    let id = cluster.docker(1, &["ps", "-q", "--filter", "label=skep.part=agent"]);
    (!id.is_empty() && !id.contains('\n')).then_some(id)
}

fn installed(cluster: &Cluster, image: &str, more: &[&str]) {
    let mut arguments = vec!["install", "--image", image];
    arguments.extend(more);
    let ended = cluster.skep(1, &arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn an_agent_comes_back_survives_its_launcher_is_replaced_when_told_otherwise_and_goes_with_the_service() {
    let cluster = Cluster::own(1, 1);
    let image = cluster.push(&skep_image());
    installed(&cluster, &image, &[]);
    let first = agent(&cluster).expect("an agent");

    cluster.docker(1, &["kill", "skep-agent"]);
    let second = eventually("another agent", || {
        whole_agent(&cluster).filter(|id| *id != first)
    });

    let before = launcher(&cluster).expect("one launcher");
    cluster.docker(1, &["kill", &before]);
    eventually("another launcher", || {
        launcher(&cluster).filter(|id| *id != before)
    });
    assert_eq!(agent(&cluster).expect("the same agent"), second);

    // What concerns the gateways alone leaves the agents alone.
    installed(&cluster, &image, &["--port", "8090"]);
    assert_eq!(agent(&cluster).expect("the same agent"), second);

    installed(&cluster, &image, &["--port", "8090", "--env", "SKEP_LOG=debug"]);
    let third = agent(&cluster).expect("an agent");
    assert_ne!(third, second);

    cluster.docker(1, &["service", "rm", "skep-agent"]);
    eventually("the agent to go with its service", || {
        agent(&cluster).is_none().then_some(())
    });
}

#[test]
fn an_agent_is_not_on_a_node_that_comes_back_when_its_service_went_meanwhile() {
    let cluster = Cluster::own(2, 1);
    let image = cluster.push(&skep_image());
    installed(&cluster, &image, &[]);
    cluster.kill(2);
    eventually("the node to be taken for lost", || {
        let states = cluster.docker(1, &["node", "ls", "--format", "{{.Status}}"]);
        states.contains("Down").then_some(())
    });
    // Swarm keeps the network for what was in it on the lost node.
    let gone = cluster.skep(1, &["uninstall"]);
    assert_eq!(gone.code, Some(1), "{}", gone.stderr);
    assert!(gone.stderr.contains("network skep"), "{}", gone.stderr);
    assert!(gone.stderr.contains("node-2 does not answer"), "{}", gone.stderr);
    cluster.start(2);
    eventually("the node to have nothing of Skep's", || {
        let left = cluster.docker(2, &["ps", "-aq", "--filter", "label=skep.part"]);
        left.is_empty().then_some(())
    });
    eventually("the rest to be removed", || {
        (cluster.skep(1, &["uninstall"]).code == Some(0)).then_some(())
    });
}
