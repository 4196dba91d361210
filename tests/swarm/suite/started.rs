//! What a function starts of which its node has nothing: other functions, by their names, and images.

use std::process::Command;

use skep_swarm_tests::{Cluster, SHELL, ask, eventually};

use crate::children::{Full, child, client};

#[test]
fn a_function_is_started_by_its_name_where_a_sandbox_of_it_is_or_comes_to_be() {
    let cluster = Cluster::installed();
    let image = cluster.push(&client());
    let labels = ["handler=exec", "sandboxes=1"];
    let tool = cluster.function_on(3, "tool", &labels, SHELL, &["sh", "-c", "echo tool on $NODE"]);
    let script = ["sh", "-c", "echo idle on $NODE"];
    let idle = cluster.function_on(3, "idle", &["handler=exec"], SHELL, &script);
    // On its starter's own node, another time.
    let near = cluster.function_on(1, "near", &["handler=exec"], SHELL, &["echo", "near"]);
    // No node may have a sandbox of it.
    let labels = ["handler=exec", "timeout=3s"];
    let never = cluster.function_on(9, "never", &labels, SHELL, &["true"]);
    tool.sandboxes(1, 1);
    let all = [&tool, &idle, &near, &never].map(|function| function.name.as_str());
    let spawn = format!("spawn={}", all.join(","));
    let labels = ["handler=exec", "timeout=120s", &spawn];
    let starter = cluster.function_on(1, "names", &labels, &image, &["bash", "-s"]);
    let address = cluster.address(2);
    let script = format!(
        "exec 2>&1; docker run --rm {tool}; docker run --rm {tool} sh -c 'echo $NODE and more'; \
         docker run --rm --user 1 {tool}; echo refused $?; docker run --rm {idle}; docker run --rm {near}; \
         docker run --rm {never}; echo none $?",
        tool = tool.name,
        idle = idle.name,
        near = near.name,
        never = never.name
    );
    let answer = eventually("a child of the function", || {
        let path = format!("POST {}", starter.path());
        let answer = ask(&address, &path, &[], &script).ok()?;
        // Gateways may not have heard of its sandbox at first.
        answer.body.contains("tool on").then_some(answer)
    });
    for line in [
        "tool on node-3",
        "node-3 and more",
        "refused 125",
        "idle on node-3",
        "near",
        "none 125",
    ] {
        assert!(answer.body.lines().any(|said| said == line), "{line}: {answer:?}");
    }
    let why = "no node has a sandbox of it: the Swarm has not started one in time";
    assert!(answer.body.contains(why), "{answer:?}");
}

/// An image that only the cluster's registry has.
fn unheard_of(cluster: &Cluster) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let (image, file) = (
        format!("skep-test/unheard:{}", &id[20..]),
        format!("FROM debian:bookworm-slim\nLABEL id={id}\n"),
    );
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
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    let pushed = cluster.push(&image);
    let removed = Command::new("docker").args(["rmi", &image]).output();
    assert!(removed.expect("the docker command").status.success());
    pushed
}

#[test]
fn a_childs_image_is_pulled_by_the_node_that_is_chosen_for_it() {
    let cluster = Cluster::installed();
    let image = cluster.push(&client());
    let unheard = unheard_of(&cluster);
    let labels = [
        "handler=exec",
        "timeout=120s",
        "max=4",
        &format!("spawn={unheard}"),
    ];
    let function = cluster.function("pulls", &labels, &image, &["bash", "-s"]);
    let address = cluster.address(1);
    let says = |script: &str| {
        let path = format!("POST {}", function.path());
        let answer = eventually("an answer", || ask(&address, &path, &[], script).ok());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let own = says("echo $NODE").trim().to_owned();
    let _full = Full::new(&cluster, &own);
    // Created without a pull before it, as an SDK does.
    let said = says(&format!(
        "exec 2>&1; docker create --pull never --name far {unheard} sleep 300; docker start far; \
         docker info --format 'counted {{{{.Containers}}}} {{{{.ContainersRunning}}}}'; \
         id=$(docker inspect --format '{{{{.Id}}}}' far); docker inspect --format 'short {{{{.Name}}}}' ${{id:0:6}}"
    ));
    for line in ["far", "counted 1 1", "short /far"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    let branch = eventually("the child in the tree", || {
        let tree = cluster.control(1, &["tree", &function.name, "--json"])?;
        let tree: serde_json::Value = serde_json::from_str(&tree).expect("the tree as JSON");
        child(&tree, "far")
    });
    let there = ["node-1", "node-2", "node-3"]
        .into_iter()
        .find(|node| branch.contains(&format!("on {node}")));
    let there = there.unwrap_or_else(|| panic!("nowhere: {branch}"));
    assert_ne!(there, own);
    for node in ["node-1", "node-2", "node-3"] {
        let number: u32 = node.trim_start_matches("node-").parse().expect("its number");
        let has = cluster.try_docker(number, &["image", "inspect", &unheard]).code == Some(0);
        assert_eq!(has, node == there, "{node}: {branch}");
    }
}
