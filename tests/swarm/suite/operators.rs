//! What those who look after a cluster are told of it.

use std::path::Path;

use skep_swarm_tests::{Cluster, eventually};

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

    let metrics = "exec 3<>/dev/tcp/127.0.0.1/8081; \
                   printf 'GET /metrics HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n' >&3; cat <&3";
    let said = cluster.in_gateway(1, &["bash", "-c", metrics]).expect("metrics");
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
