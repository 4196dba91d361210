//! What those who look after a cluster are told of it.

use std::path::Path;

use skep_swarm_tests::{Cluster, NODES, SHELL, at_once, eventually};

#[test]
fn who_follows_logs_at_one_gateway_reads_the_lines_of_all_nodes_as_they_come() {
    let cluster = Cluster::installed();
    let labels = ["handler=exec", "max=12", "slots=4", "sandboxes=3", "timeout=60s"];
    let command = "sleep 0.5; echo $NODE; echo line of $NODE >&2; sleep 0.5";
    let function = cluster.function("talks", &labels, SHELL, &["sh", "-c", command]);
    function.answers_from(1, &NODES);
    let followed = cluster.follow(2, &["logs", "-f", "--tail", "0", &function.name]);
    // How far it had come before cannot be told: what is written from now on is awaited.
    eventually("a line of every node, while the command runs", || {
        at_once(3 * NODES.len(), &cluster.address(1), &function.path());
        let lines = followed.lines();
        let of = |node: &u32| {
            lines
                .iter()
                .any(|line| line.ends_with(&format!("line of node-{node}")))
        };
        NODES.iter().all(of).then_some(())
    });
    assert!(followed.goes_on(), "it follows until it is told to end");
}

#[test]
fn a_clusters_queue_is_looked_at_by_the_doctor_and_every_metric_is_in_the_reference() {
    let cluster = Cluster::installed();
    eventually("the doctor to find the queue whole", || {
        let said = cluster.skep(1, &["doctor"]).stdout;
        said.contains("the Swarm's queue has 3 servers, and all run")
            .then_some(())
    });
    cluster.docker(1, &["service", "scale", "-d", "skep-nats-3=0"]);
    eventually("the doctor to miss a server", || {
        let said = cluster.skep(1, &["doctor"]).stdout;
        said.contains("2 of 3 servers of the queue run").then_some(())
    });
    cluster.docker(1, &["service", "scale", "-d", "skep-nats-3=1"]);
    eventually("the doctor to find it again", || {
        let said = cluster.skep(1, &["doctor"]).stdout;
        said.contains("and all run").then_some(())
    });

    let said = cluster.metrics(1).expect("metrics");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let reference = std::fs::read_to_string(path).expect("the reference");
    let families: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    assert!(families.contains(&"skep_queue_ready"), "{families:?}");
    let missing: Vec<&&str> = families
        .iter()
        .filter(|family| !reference.contains(&format!("| `{family}` |")))
        .collect();
    assert!(missing.is_empty(), "docs/reference/metrics.md lacks {missing:?}");
}

#[test]
fn a_function_that_its_node_can_not_run_as_it_says_is_shown_as_invalid_with_the_reason() {
    let cluster = Cluster::installed();
    let options = [
        "--log-driver",
        "gelf",
        "--log-opt",
        "gelf-address=udp://127.0.0.1:12201",
    ];
    let labels = ["handler=exec", "engine=lean", "sandboxes=1", "timeout=10s"];
    let function = cluster.function_with(&options, "refused", &labels, SHELL, &["true"]);
    let why = "the driver gelf (--log-driver)";
    eventually("the reason, with its node", || {
        let listed = cluster.ended_in_gateway(1, &["skep", "ls"])?;
        let told = |line: &str| line.contains(&function.name) && line.contains("node-") && line.contains(why);
        listed.stderr.lines().any(told).then_some(())?;
        let row = listed
            .stdout
            .lines()
            .find(|line| line.starts_with(&function.name))?;
        row.contains(" invalid ").then_some(())
    });
}
