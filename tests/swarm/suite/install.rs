//! Onto a Swarm, up to date, and off it again.

use skep_swarm_tests::{Cluster, eventually, skep_image};

/// Everything of Skep's on a node, one line each.
fn remains(cluster: &Cluster, node: u32, data: bool) -> String {
    let mut lines = cluster.docker(node, &["ps", "-aq", "--filter", "label=skep.part"]);
    let networks = cluster.docker(node, &["network", "ls", "--format", "{{.Name}}"]);
    lines.extend(networks.lines().filter(|name| *name == "skep"));
    if data {
        lines += &cluster.docker(node, &["volume", "ls", "-q", "--filter", "name=skep"]);
        lines += &cluster.exec(node, &["find", "/var/lib/skep", "-mindepth", "1"]);
    }
    if node == 1 {
        for kind in ["service", "secret", "config"] {
            lines += &cluster.docker(1, &[kind, "ls", "-q"]);
        }
    }
    lines
}

#[test]
fn it_comes_onto_every_node_has_nothing_to_do_the_second_time_and_leaves_nothing() {
    let cluster = Cluster::own(3, 1);
    let image = cluster.push(&skep_image());
    // What is the user's own stays.
    cluster.docker(
        1,
        &["config", "create", "--label", "mine=yes", "mine", "/etc/hostname"],
    );

    let first = cluster.install_with_queue(&image);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert_eq!(first.stdout, format!("http://{}:8080", cluster.address(1)));
    for node in 1..=3 {
        let agent = cluster.docker(
            node,
            &[
                "inspect",
                "skep-agent",
                "--format",
                "{{.State.Running}} {{.HostConfig.Privileged}}",
            ],
        );
        assert_eq!(agent, "true false", "node {node}");
        let keys = cluster.docker(node, &["inspect", "skep-agent"]);
        assert!(
            !keys.contains("PRIVATE KEY"),
            "node {node} shows the agent's keys"
        );
    }

    let servers: Vec<String> = (1..=3)
        .map(|number| {
            let server = format!("skep-nats-{number}");
            let running = ["-f", "desired-state=running", "--format", "{{.Node}}", &server];
            cluster.docker(1, &[&["service", "ps"], &running[..]].concat())
        })
        .collect();
    assert_eq!(
        servers,
        ["node-1", "node-2", "node-3"],
        "the queue has a server on each"
    );
    let services = [
        "skep-agent",
        "skep-gateway",
        "skep-nats-1",
        "skep-nats-2",
        "skep-nats-3",
    ];
    let tasks = [&["service", "ps", "-q"], &services[..]].concat();
    let before = cluster.docker(1, &tasks);
    let second = cluster.install_with_queue(&image);
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert!(second.stderr.contains("as it should be"), "{}", second.stderr);
    assert_eq!(cluster.docker(1, &tasks), before);

    let gone = cluster.skep(1, &["uninstall", "--data"]);
    assert_eq!(gone.code, Some(0), "{}", gone.stderr);
    assert_eq!(
        cluster.docker(1, &["config", "ls", "--format", "{{.Name}}"]),
        "mine"
    );
    cluster.docker(1, &["config", "rm", "mine"]);
    for node in 1..=3 {
        // The last sweep's own containers go a moment after they ended.
        eventually(&format!("node {node} to be as it was"), || {
            remains(&cluster, node, true).is_empty().then_some(())
        });
    }
    let again = cluster.skep(1, &["uninstall"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("was not on this Swarm"), "{}", again.stderr);
}
