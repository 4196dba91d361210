//! Containers that functions start through their Docker socket, and what operators see of the whole cluster.

use skep_swarm_tests::{Cluster, Function, NODES, SHELL, ask, built, eventually};

/// An image with a shell and the docker command, as this machine's engine has it.
pub(crate) fn client() -> String {
    let path = std::env::var_os("PATH").expect("a PATH");
    let docker = std::env::split_paths(&path)
        .map(|folder| folder.join("docker"))
        .find(|file| file.is_file());
    let file = "FROM debian:bookworm-slim\nCOPY docker /usr/local/bin/docker\nENV HOME=/tmp\n";
    built("skep-test/client", file, &[&docker.expect("the docker command")])
}

/// A function that runs the script it is asked with, which may start containers.
fn starter<'a>(cluster: &'a Cluster, topic: &str, labels: &[&str]) -> Function<'a> {
    let image = cluster.push(&client());
    let spawn = format!("spawn={SHELL}");
    let labels = [&["handler=exec", "max=4", spawn.as_str()][..], labels].concat();
    cluster.function(topic, &labels, &image, &["bash", "-s"])
}

fn has_lines(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.lines().any(|said| said == *line), "{line}: {said}");
    }
}

#[test]
fn a_function_starts_a_child_and_operators_see_both_with_their_node() {
    let cluster = Cluster::installed();
    let function = starter(&cluster, "starts", &["timeout=90s"]);
    let script = format!(
        "exec 2>&1; docker run --rm {SHELL} echo from a child; echo id $(docker run -d --name stays {SHELL} sleep 300)
         docker ps --format '{{{{.Names}}}}'; docker exec stays echo inside; echo on $NODE; echo said >&2
         [ \"$(docker run --rm {SHELL} hostname -i)\" = \"$(hostname -i)\" ] && echo in its network\n"
    );
    let said = function.says(2, &script);
    has_lines(&said, &["from a child", "stays", "inside", "in its network"]);
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    let (node, id) = (value("on ").expect("its node"), value("id ").expect("its id"));
    // The lean engine made it.
    let number = node.trim_start_matches("node-").parse().expect("its number");
    let inspected = cluster.try_docker(number, &["inspect", id]);
    assert!(inspected.stderr.contains("o such object"), "{inspected:?}");
    for gateway in NODES {
        let tree = eventually("the tree of the whole cluster", || {
            cluster
                .control(gateway, &["tree", "--json"])
                .filter(|tree| tree.contains("stays"))
        });
        assert!(tree.contains(&format!("on {node}")), "{tree}");
    }
}

/// A node that is full, as Swarm counts, until this goes.
pub(crate) struct Full<'a> {
    cluster: &'a Cluster,
    service: String,
}

impl<'a> Full<'a> {
    pub(crate) fn new(cluster: &'a Cluster, node: &str) -> Self {
        let service = format!("full-{}", uuid::Uuid::now_v7().simple());
        let number: u32 = node.trim_start_matches("node-").parse().expect("its number");
        let cpus = cluster.docker(number, &["info", "--format", "{{.NCPU}}"]);
        let constraint = format!("node.hostname=={node}");
        let full = Self { cluster, service };
        let made = ["service", "create", "-q", "--name", &full.service];
        let where_to = ["--constraint", &constraint, "--reserve-cpu", &cpus];
        cluster.docker(1, &[&made[..], &where_to, &[SHELL, "sleep", "1000"]].concat());
        full
    }
}

impl Drop for Full<'_> {
    fn drop(&mut self) {
        self.cluster.try_docker(1, &["service", "rm", &self.service]);
    }
}

#[test]
fn a_child_is_made_on_the_node_with_room_and_reached_there() {
    let cluster = Cluster::installed();
    let function = starter(&cluster, "spills", &["timeout=90s"]);
    let own = function.says(2, "echo $NODE").trim().to_owned();
    let _full = Full::new(&cluster, &own);
    let script = format!(
        "exec 2>&1; set -x; id=$(docker run -d --name far {SHELL} sh -c 'echo from afar; sleep 3; exit 7')
         docker run -d --name stays {SHELL} sleep 300 >/dev/null
         docker ps --format 'listed {{{{.Names}}}}'
         docker logs -f far
         echo waited $(docker wait far)
         echo inspected $(docker inspect --format '{{{{.Name}}}} {{{{.State.ExitCode}}}}' ${{id:0:12}})
         docker run --name far {SHELL} true || echo taken $?
         docker rm far
         echo left $(docker ps -a --format '{{{{.Names}}}}')
         docker logs $id || echo gone $?"
    );
    let said = function.says(2, &script);
    has_lines(
        &said,
        &[
            "listed far",
            "listed stays",
            "from afar",
            "waited 7",
            "inspected /far 7",
            "taken 125",
            "left stays",
            "gone 1",
        ],
    );
    let branch = eventually("the child in the tree of the whole cluster", || {
        branch(&function, "stays")
    });
    assert!(
        branch.contains("on node-") && !branch.contains(&format!("on {own}")),
        "{branch}"
    );
}

#[test]
fn whatever_is_asked_of_a_child_reaches_it_on_another_node() {
    let cluster = Cluster::installed();
    let function = starter(&cluster, "reaches", &["timeout=120s"]);
    let own = function.says(1, "echo $NODE").trim().to_owned();
    let _full = Full::new(&cluster, &own);
    let script = format!(
        "exec 2>&1; set -x; began=$(date +%s)
         docker run --rm {SHELL} echo attached
         echo sent | docker run -i --rm {SHELL} sed 's/^/taken /'
         docker run -d --name far {SHELL} sh -c 'echo out; echo err >&2; sleep 300' >/dev/null
         docker exec far sh -c 'echo inside; exit 3'; echo code $?
         echo piped | docker exec -i far cat
         echo file > /tmp/file; docker cp /tmp/file far:/tmp/there; docker exec far cat /tmp/there
         docker cp far:/tmp/there /tmp/back; echo back $(cat /tmp/back)
         docker top far | grep -c sleep | sed 's/^/top /'
         docker stats --no-stream --format 'stats {{{{.Name}}}}' far
         docker rename far away; docker pause away
         docker ps --format '{{{{.Names}}}} {{{{.Status}}}}' | sed 's/Up .*(/Up (/'; docker unpause away
         docker stop -t 1 away >/dev/null; echo state $(docker inspect --format '{{{{.State.Status}}}}' away)
         docker start away; docker kill away; echo pruned $(docker container prune -f | grep -c '^[0-9a-f]')
         docker events --since $began --until $(($(date +%s) + 1)) --filter event=die --format 'died {{{{.Actor.Attributes.name}}}}'"
    );
    let said = function.says(1, &script);
    has_lines(
        &said,
        &[
            "attached",
            "taken sent",
            "inside",
            "code 3",
            "piped",
            "file",
            "back file",
            "top 2",
            "stats far",
            "away Up (Paused)",
            "state exited",
            "pruned 1",
            "died away",
        ],
    );
}

#[test]
fn a_child_whose_node_dies_is_said_to_be_lost_and_gives_its_budget_back() {
    let cluster = Cluster::installed();
    let function = starter(&cluster, "loses", &["timeout=120s", "spawn.max=1"]);
    let own = function.says(1, "echo $NODE").trim().to_owned();
    let _full = Full::new(&cluster, &own);
    function.says(1, &format!("docker run -d --name far {SHELL} sleep 600"));
    let there = eventually("the child's node", || {
        let branch = branch(&function, "far")?;
        NODES
            .into_iter()
            .find(|node| branch.contains(&format!("on node-{node}")))
    });
    let mine: u32 = own.trim_start_matches("node-").parse().expect("its number");
    assert_ne!(there, mine);
    let script = format!(
        "exec 2>&1
         docker wait far; echo waited $?
         until [ -z \"$(docker ps -aq)\" ]; do sleep 0.5; done; echo vanished
         docker logs far; echo logs $?
         until docker run --rm {SHELL} echo again; do sleep 0.5; done"
    );
    let said = std::thread::scope(|scope| {
        let asking = scope.spawn(|| function.says(mine, &script));
        cluster.kill(there);
        asking.join().expect("the function's answer")
    });
    cluster.start(there);
    has_lines(&said, &["waited 1", "vanished", "logs 1", "again"]);
}

#[test]
fn a_child_leaves_its_node_only_for_one_that_can_give_its_network() {
    let cluster = Cluster::installed();
    let image = cluster.push(&client());
    let id = uuid::Uuid::now_v7().simple().to_string();
    for (kind, option) in [("open", &["--attachable"][..]), ("closed", &[])] {
        let network = format!("{kind}-{}", &id[20..]);
        let made = ["network", "create", "-d", "overlay"];
        cluster.docker(1, &[&made[..], option, &[network.as_str()]].concat());
        let labels = ["handler=exec", "timeout=90s", &format!("spawn={SHELL}")];
        let function = cluster.function("networks", &labels, &image, &["bash", "-s"]);
        cluster.docker(
            1,
            &[
                "service",
                "update",
                "-q",
                "-d",
                "--network-add",
                &network,
                &function.name,
            ],
        );
        let address = cluster.address(1);
        let says = |script: &str| {
            let path = format!("POST {}", function.path());
            let answer = eventually("an answer", || {
                let answer = ask(&address, &path, &[], script).ok()?;
                (answer.status == 200).then_some(answer)
            });
            answer.body
        };
        let own = eventually("an instance on its network", || {
            let said = says("grep -c eth1 /proc/net/dev; echo $NODE");
            let mut lines = said.lines();
            (lines.next()? == "1").then(|| lines.next().unwrap_or_default().to_owned())
        });
        let full = Full::new(&cluster, &own);
        let said = says(&format!(
            "exec 2>&1; docker run -d --name far {SHELL} sleep 300 >/dev/null; docker exec far cat /proc/net/dev"
        ));
        assert!(said.contains("eth0"), "{said}");
        let branch = eventually("the child in the tree", || branch(&function, "far"));
        let stays = branch.contains(&format!("on {own}"));
        assert_eq!(stays, kind == "closed", "{kind}: {branch}");
        says("docker rm -f far");
        drop((full, function));
        eventually("the network to go", || {
            let removed = cluster.try_docker(1, &["network", "rm", &network]);
            (removed.code == Some(0)).then_some(())
        });
    }
}

/// The branch of a function's child in the tree of the whole cluster, without what is below it.
fn branch(function: &Function, name: &str) -> Option<String> {
    let tree = function
        .cluster()
        .control(1, &["tree", &function.name, "--json"])?;
    child(&serde_json::from_str(&tree).expect("the tree as JSON"), name)
}

/// The branch of a child, without what is below it.
pub(crate) fn child(tree: &serde_json::Value, name: &str) -> Option<String> {
    match tree {
        serde_json::Value::Array(branches) => branches.iter().find_map(|branch| child(branch, name)),
        serde_json::Value::Object(branch) => {
            let mut own = branch.clone();
            let below = own.remove("below");
            let own = serde_json::Value::Object(own).to_string();
            let is_it = own.contains(&format!("({name})"));
            is_it
                .then_some(own)
                .or_else(|| below.and_then(|below| child(&below, name)))
        }
        _ => None,
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

#[test]
fn the_log_of_an_invalid_function_is_the_reason_at_every_gateway() {
    let cluster = Cluster::installed();
    let function = cluster.function("wrong", &["handler=exec", "max=many"], SHELL, &["true"]);
    for gateway in NODES {
        let said = eventually("the reason", || {
            let ended = cluster.ended_in_gateway(gateway, &["skep", "logs", &function.name])?;
            ended.stderr.contains("skep.max=many").then_some(ended.stderr)
        });
        let first = format!("{} is invalid and does not run:", function.name);
        has_lines(&said, &[&first]);
    }
}
