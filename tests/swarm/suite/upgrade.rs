//! A newer image of Skep, under load.

use std::process::Command;

use skep_swarm_tests::{Cluster, Load, NODES, skep_image};

/// The same binary in an image that is another's.
fn newer() -> String {
    let image = format!("{}-newer", skep_image());
    let file = format!("FROM {}\nLABEL newer=yes\n", skep_image());
    let built = Command::new("sh")
        .args([
            "-c",
            "printf '%s' \"$1\" | docker build -q -t \"$2\" -",
            "sh",
            &file,
            &image,
        ])
        .env("DOCKER_BUILDKIT", "0")
        .output()
        .expect("the docker command");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    image
}

fn sandboxes(cluster: &Cluster) -> Vec<String> {
    let of = |node| cluster.docker(node, &["ps", "-q", "--filter", "label=skep.sandbox"]);
    NODES.into_iter().map(of).collect()
}

#[test]
fn an_upgrade_fails_no_request_of_callers_who_try_another_gateway_and_keeps_the_sandboxes() {
    let cluster = Cluster::installed();
    let image = cluster.push(&newer());
    let function = cluster.spread("rolled", "0.2");
    function.answers_from(1, &NODES);
    let before = sandboxes(&cluster);
    let load = Load::begin_anywhere(cluster.addresses(&NODES), &function.path(), 5);
    let upgraded = cluster.skep(1, &["install", "--image", &image, "--drain-timeout", "30s"]);
    let samples = load.end();
    assert_eq!(upgraded.code, Some(0), "{}", upgraded.stderr);
    let failed: Vec<_> = samples.iter().filter(|sample| !sample.succeeded()).collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:?}",
        failed.len(),
        samples.len()
    );
    assert_eq!(sandboxes(&cluster), before);
    for node in NODES {
        let image = cluster.docker(node, &["inspect", "skep-agent", "--format", "{{.Config.Image}}"]);
        let labels = cluster.docker(node, &["inspect", &image, "--format", "{{.Config.Labels.newer}}"]);
        assert_eq!(labels, "yes", "node {node}");
    }
    cluster.forget_installed();
}
