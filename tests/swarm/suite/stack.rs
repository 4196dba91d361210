//! Skep as a stack that people deploy themselves.

use skep_swarm_tests::{Cluster, eventually, get, skep_image};
use skep_testing::probe_image;

#[test]
fn a_stack_file_brings_skep_and_its_removal_leaves_nothing_that_an_uninstall_does_not_take() {
    let cluster = Cluster::own(1, 1);
    let image = cluster.push(&skep_image());
    let probe = cluster.push(&probe_image());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path");
    let written = cluster.skep(1, &["install", "--image", &image, "--write-stack", path]);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    assert_eq!(
        written.stdout,
        format!("docker stack deploy -c {path}/skep.yaml skep")
    );
    assert_eq!(cluster.docker(1, &["service", "ls", "-q"]), "");

    cluster.docker(
        1,
        &["stack", "deploy", "-c", &format!("{path}/skep.yaml"), "skep"],
    );
    let function = cluster.function("stacked", &["handler=exec"], &probe, &["echo", "hello"]);
    let address = cluster.address(1);
    let answer = eventually("an answer", || {
        get(&address, &function.path())
            .ok()
            .filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.body, "hello");
    drop(function);

    // It fails where it asks for the network to go while a task has it still: the uninstall takes that.
    cluster.try_docker(1, &["stack", "rm", "skep"]);
    eventually("nothing to be left", || {
        // A gateway that is not gone yet renews its lease once more.
        let gone = cluster.skep(1, &["uninstall"]).code == Some(0);
        let mut left = cluster.docker(1, &["ps", "-aq", "--filter", "label=skep.part"]);
        for kind in ["service", "secret", "config"] {
            left += &cluster.docker(1, &[kind, "ls", "-q"]);
        }
        (gone && left.is_empty()).then_some(())
    });
}
