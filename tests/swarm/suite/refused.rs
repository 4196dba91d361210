//! What can't be installed is said before anything is made.

use skep_swarm_tests::Cluster;

#[test]
fn each_reason_why_nothing_can_be_installed_says_what_to_do() {
    let cluster = Cluster::own(2, 1);

    let worker = cluster.skep(2, &["install"]);
    assert_eq!(worker.code, Some(1));
    let manager = format!("run this on a manager: {}:2377", cluster.address(1));
    assert!(worker.stderr.contains(&manager), "{}", worker.stderr);

    cluster.docker(1, &["node", "update", "--availability", "drain", "node-1"]);
    let drained = cluster.skep(1, &["install"]);
    assert_eq!(drained.code, Some(1));
    assert!(
        drained.stderr.contains("node-1 is drained or paused"),
        "{}",
        drained.stderr
    );
    assert!(drained.stderr.contains("hint: "), "{}", drained.stderr);
    cluster.docker(1, &["node", "update", "--availability", "active", "node-1"]);

    let label = cluster.skep(1, &["install", "--constraint", "node.labels.edge==true"]);
    assert!(
        label
            .stderr
            .contains("node-1 does not meet node.labels.edge==true"),
        "{}",
        label.stderr
    );

    let image = cluster.skep(1, &["install", "--image", "registry:5000/nowhere:1"]);
    assert_eq!(image.code, Some(1));
    assert!(
        image.stderr.contains("registry:5000/nowhere:1"),
        "{}",
        image.stderr
    );

    cluster.docker(1, &["network", "create", "-d", "overlay", "skep"]);
    cluster.load("debian:bookworm-slim");
    let taken = cluster.skep(1, &["install", "--image", "debian:bookworm-slim"]);
    assert!(taken.stderr.contains("network skep"), "{}", taken.stderr);

    assert_eq!(cluster.docker(1, &["service", "ls", "-q"]), "");
    assert_eq!(cluster.docker(1, &["secret", "ls", "-q"]), "");
    let gone = cluster.skep(1, &["uninstall"]);
    assert_eq!(gone.code, Some(0), "{}", gone.stderr);
    // It is somebody else's.
    cluster.docker(1, &["network", "inspect", "skep"]);

    cluster.docker(2, &["swarm", "leave"]);
    let none = cluster.skep(2, &["install"]);
    assert!(none.stderr.contains("docker swarm init"), "{}", none.stderr);
}
