//! Containers that functions start through their Docker socket, and what operators see of the whole cluster.

use std::process::Command;

use skep_swarm_tests::{Cluster, NODES, SHELL, ask, eventually};

/// An image with a shell and the docker command, as this machine's engine has it.
fn client() -> String {
    let context = tempfile::tempdir().expect("a folder for the build");
    let path = std::env::var_os("PATH").expect("a PATH");
    let docker = std::env::split_paths(&path)
        .map(|folder| folder.join("docker"))
        .find(|file| file.is_file());
    std::fs::copy(docker.expect("the docker command"), context.path().join("docker")).expect("a copy of it");
    let file = "FROM debian:bookworm-slim\nCOPY docker /usr/local/bin/docker\nENV HOME=/tmp\n";
    std::fs::write(context.path().join("Dockerfile"), file).expect("the Dockerfile");
    let built = Command::new("docker")
        .args(["build", "-q", "-t", "skep-test/client", "."])
        .env("DOCKER_BUILDKIT", "0")
        .current_dir(context.path())
        .output()
        .expect("the docker command");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    "skep-test/client".to_owned()
}

#[test]
fn a_function_starts_a_child_and_operators_see_both_with_their_node() {
    let cluster = Cluster::installed();
    let image = cluster.push(&client());
    let labels = ["handler=exec", "timeout=90s", "max=4", &format!("spawn={SHELL}")];
    let function = cluster.function("starts", &labels, &image, &["bash", "-s"]);
    let script = format!(
        "exec 2>&1; docker run --rm {SHELL} echo from a child; docker run -d --name stays {SHELL} sleep 300 \
         >/dev/null; docker ps --format '{{{{.Names}}}}'; docker exec stays echo inside; echo on $NODE; echo said >&2\n"
    );
    let address = cluster.address(2);
    let answer = eventually("an answer", || {
        ask(&address, &format!("POST {}", function.path()), &[], &script).ok()
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    for said in ["from a child", "stays", "inside"] {
        assert!(answer.body.lines().any(|line| line == said), "{answer:?}");
    }
    let node = answer.body.lines().find_map(|line| line.strip_prefix("on "));
    let node = node.expect("its node");
    for gateway in NODES {
        let tree = eventually("the tree of the whole cluster", || {
            cluster
                .control(gateway, &["tree", "--json"])
                .filter(|tree| tree.contains("stays"))
        });
        assert!(tree.contains(&format!("on {node}")), "{tree}");
    }
}

#[test]
fn logs_of_all_nodes_are_one_at_every_gateway() {
    let cluster = Cluster::installed();
    let labels = ["handler=exec", "max=12", "slots=4", "sandboxes=3", "timeout=60s"];
    let command = "sleep 0.5; echo $NODE; echo line of $NODE >&2";
    let function = cluster.function("wordy", &labels, SHELL, &["sh", "-c", command]);
    function.sandboxes(1, 3);
    function.answers_from(1, &NODES);
    for gateway in NODES {
        eventually("lines of every node", || {
            let logs = cluster.control(gateway, &["logs", &function.name])?;
            let all = NODES
                .iter()
                .all(|node| logs.contains(&format!("line of node-{node}")));
            all.then_some(())
        });
        let last = cluster.control(gateway, &["logs", &function.name, "--tail", "2", "--json"]);
        let last = last.expect("the last lines");
        assert_eq!(last.lines().count(), 2, "{last}");
    }
}
