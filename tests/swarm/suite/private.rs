//! Images that only some may pull.

use skep_swarm_tests::{Cluster, eventually, get, skep_image};
use skep_testing::probe_image;

/// The registry that asks for a password, over the same store as the open one.
const PRIVATE: &str = "registry:5001";
/// What `docker login` leaves there: `skep:skep` in base64.
const LOGGED_IN: &str = r#"{"auths":{"registry:5001":{"auth":"c2tlcDpza2Vw"}}}"#;

#[test]
fn private_images_of_skep_and_of_functions_are_pulled_with_the_accounts_of_whoever_installs() {
    let cluster = Cluster::own(2, 1);
    let private = |open: &str| open.replace("registry:5000", PRIVATE);
    let skep = private(&cluster.push(&skep_image()));
    let probe = private(&cluster.push(&probe_image()));

    let stranger = tempfile::tempdir().expect("a folder");
    let refused = cluster.skep_with(1, &["install", "--image", &skep], stranger.path());
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("--registry-auth"), "{}", refused.stderr);

    let known = tempfile::tempdir().expect("a folder");
    std::fs::write(known.path().join("config.json"), LOGGED_IN).expect("an account");
    let arguments = ["install", "--registry-auth", "--image", &skep];
    let installed = cluster.skep_with(1, &arguments, known.path());
    assert_eq!(installed.code, Some(0), "{}", installed.stderr);
    let again = cluster.skep_with(1, &arguments, known.path());
    assert!(again.stderr.contains("as it should be"), "{}", again.stderr);
    let agents = cluster.docker(2, &["inspect", "skep-agent", "--format", "{{.State.Running}}"]);
    assert_eq!(agents, "true");

    // On a worker, which has no account of its own.
    let labels = ["handler=exec"];
    let function = cluster.function("private", &labels, &probe, &["hostname"]);
    let constraint = [
        "service",
        "update",
        "-q",
        "-d",
        "--constraint-add",
        "node.role==worker",
        &function.name,
    ];
    cluster.docker(1, &constraint);
    let address = cluster.address(1);
    let answer = eventually("a private function's answer", || {
        get(&address, &function.path())
            .ok()
            .filter(|answer| answer.status == 200)
    });
    assert!(!answer.body.is_empty());
    assert_eq!(function.sandboxes(1, 1), ["node-2"]);
}
