//! Nodes that die, are cut off, are drained, come back; managers, agents, gateways, engines and registries that go.
//! Only work that was on its way there is lost, and is said to be lost.

use std::thread;
use std::time::{Duration, Instant};

use skep_swarm_tests::{Answer, Cluster, Function, Load, NODES, SHELL, Sample, at_once, eventually, get};

/// How long a caller may wait for the word that a node is gone: five seconds of silence, on a busy machine.
const SECONDS: Duration = Duration::from_secs(25);

/// Nine callers of a function at one gateway, once all of them run.
fn nine(cluster: &Cluster, function: &Function<'_>, gateway: u32) -> thread::JoinHandle<Vec<Outcome>> {
    let (address, path) = (cluster.address(gateway), function.path());
    let callers = thread::spawn(move || at_once(9, &address, &path));
    eventually("all nine to run", || {
        let running = cluster.control(gateway, &["ls", "--json"])?;
        running_of(&running, &function.name).filter(|running| *running >= 9)
    });
    callers
}

/// How many of those nine run on this node.
fn of_them_on(node: &str, cluster: &Cluster, function: &Function<'_>, gateway: u32) -> usize {
    eventually("the nodes of all nine", || {
        let list = cluster.listed(gateway, "/v1/instances")?;
        let mut nodes = Vec::new();
        for instance in list["instances"].as_array()? {
            if instance["function"] == function.name.as_str() {
                let serves = instance["invocations"].as_array()?.len();
                nodes.extend(std::iter::repeat_n(instance["node"].as_str()?, serves));
            }
        }
        (nodes.len() == 9).then(|| nodes.iter().filter(|of| **of == node).count())
    })
}

type Outcome = std::io::Result<Answer>;

/// The number of running invocations that `skep ls --json` shows of a function.
fn running_of(json: &str, function: &str) -> Option<u64> {
    let compact: String = json.chars().filter(|letter| !letter.is_whitespace()).collect();
    let (_, rest) = compact.split_once(&format!("\"name\":\"{function}\""))?;
    let (_, rest) = rest.split_once("\"running\":")?;
    rest.split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn statuses(outcomes: &[Outcome]) -> Vec<String> {
    let word = |outcome: &Outcome| match outcome {
        Ok(answer) => format!(
            "{} {}",
            answer.status,
            answer.body.lines().next().unwrap_or_default()
        ),
        Err(error) => error.to_string(),
    };
    outcomes.iter().map(word).collect()
}

/// As many of nine as ran on the node that went are told that they are lost, and the others are answered.
fn its_own_are_lost(outcomes: &[Outcome], ran: usize, node: &str) {
    let lost = |outcome: &&Outcome| {
        outcome
            .as_ref()
            .is_ok_and(|answer| answer.status == 502 && answer.body.contains("node-lost"))
    };
    let served = |outcome: &&Outcome| {
        outcome
            .as_ref()
            .is_ok_and(|answer| answer.status == 200 && answer.body != node)
    };
    let said = statuses(outcomes);
    assert!(ran > 0, "{said:?}");
    assert_eq!(outcomes.iter().filter(lost).count(), ran, "{said:?}");
    assert_eq!(outcomes.iter().filter(served).count(), 9 - ran, "{said:?}");
}

fn failures(samples: &[Sample]) -> Vec<String> {
    let failed = samples.iter().filter(|sample| !sample.succeeded());
    let word = |sample: &Sample| match &sample.outcome {
        Ok(answer) => format!("{} after {:?}: {}", answer.status, sample.took, answer.body),
        Err(error) => format!("{error} after {:?}", sample.took),
    };
    failed.map(word).collect()
}

/// What a node has of Skep's making, beside its agent: instances' cgroups, containers, and secrets in memory.
fn remains(cluster: &Cluster, node: u32) -> String {
    let groups = "find /sys/fs/cgroup -path '*skep*' -type d -name '*-*-*-*-*' 2>/dev/null | head; \
                  find /dev/shm -mindepth 2 -path '*skep-agent*' 2>/dev/null | head";
    let containers = ["ps", "-aq", "--filter", "label=skep.owner"];
    cluster.exec(node, &["sh", "-c", groups]) + &cluster.docker(node, &containers)
}

fn nothing_remains(cluster: &Cluster, node: u32) {
    eventually(&format!("nothing to be left behind on node {node}"), || {
        remains(cluster, node).is_empty().then_some(())
    });
}

#[test]
fn a_node_that_dies_takes_its_own_work_along_and_nothing_else_and_comes_back_clean() {
    let cluster = Cluster::installed();
    let slow = cluster.spread("slow", "8");
    let quick = cluster.spread("quick", "0");
    quick.answers_from(1, &NODES);
    slow.sandboxes(1, 3);
    let callers = nine(&cluster, &slow, 1);
    let ran = of_them_on("node-3", &cluster, &slow, 1);
    let load = Load::begin(cluster.addresses(&[1, 2]), &quick.path(), 10);
    eventually("the load to be served", || (load.succeeded() > 10).then_some(()));

    cluster.kill(3);
    let killed = Instant::now();
    its_own_are_lost(&callers.join().expect("the callers"), ran, "node-3");
    assert!(
        killed.elapsed() < SECONDS,
        "they were told after {:?}",
        killed.elapsed()
    );
    let there = load.succeeded();
    eventually("the load to go on", || {
        (load.succeeded() > there + 50).then_some(())
    });
    let samples = load.end();
    // No more were on their way to it than its sandbox has room for, from each of two gateways.
    let failed = failures(&samples);
    assert!(failed.len() <= 8, "{failed:?}");
    let late = samples
        .iter()
        .filter(|sample| sample.sent > killed + SECONDS && !sample.succeeded());
    assert_eq!(late.count(), 0, "{failed:?}");

    drop((slow, quick));
    cluster.start(3);
    cluster.whole();
    nothing_remains(&cluster, 3);
}

#[test]
fn a_node_that_is_cut_off_is_done_without_and_joins_in_again_when_it_is_back() {
    let cluster = Cluster::installed();
    let slow = cluster.spread("slow", "8");
    slow.answers_from(1, &NODES);
    let callers = nine(&cluster, &slow, 2);
    let ran = of_them_on("node-3", &cluster, &slow, 2);
    cluster.cut(3);
    let cut = Instant::now();
    its_own_are_lost(&callers.join().expect("the callers"), ran, "node-3");
    assert!(
        cut.elapsed() < SECONDS,
        "they were told after {:?}",
        cut.elapsed()
    );
    let quick = cluster.spread("quick", "0");
    for node in [1, 2] {
        let answer = eventually("an answer without it", || {
            get(&cluster.address(node), &quick.path()).ok()
        });
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    drop((slow, quick));
    cluster.mend(3);
    cluster.whole();
    nothing_remains(&cluster, 3);
}

#[test]
fn a_drained_node_finishes_what_it_runs_and_no_caller_notices() {
    let cluster = Cluster::installed();
    let slow = cluster.spread("slow", "5");
    let quick = cluster.spread("quick", "0");
    slow.answers_from(1, &NODES);
    quick.answers_from(1, &NODES);
    let callers = nine(&cluster, &slow, 1);
    let load = Load::begin(cluster.addresses(&[1, 2]), &quick.path(), 10);
    cluster.docker(1, &["node", "update", "--availability", "drain", "node-3"]);
    let answers = callers.join().expect("the callers");
    let served = |outcome: &&Outcome| outcome.as_ref().is_ok_and(|answer| answer.status == 200);
    assert_eq!(
        answers.iter().filter(served).count(),
        9,
        "{:?}",
        statuses(&answers)
    );
    eventually("the node to have nothing of Skep's", || {
        let containers = cluster.docker(3, &["ps", "-q"]);
        containers.is_empty().then_some(())
    });
    let failed = failures(&load.end());
    assert!(failed.is_empty(), "{failed:?}");
    nothing_remains(&cluster, 3);

    cluster.docker(1, &["node", "update", "--availability", "active", "node-3"]);
    drop((slow, quick));
    cluster.whole();
}

#[test]
fn when_the_leading_manager_dies_another_leads_and_functions_still_come_from_nothing() {
    let cluster = Cluster::installed();
    let leader = cluster.docker(1, &["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}"]);
    let leader = leader
        .lines()
        .find_map(|line| line.strip_suffix(" Leader"))
        .expect("a leader");
    let leader: u32 = leader.trim_start_matches("node-").parse().expect("a number");
    let others: Vec<u32> = NODES.into_iter().filter(|node| *node != leader).collect();
    let quick = cluster.spread("quick", "0");
    quick.answers_from(others[0], &NODES);

    cluster.kill(leader);
    // Within a connection's silence nobody knows yet.
    eventually("answers without it", || {
        let answer = get(&cluster.address(others[0]), &quick.path()).ok()?;
        (answer.status == 200).then_some(())
    });
    eventually("another leader", || {
        let states = cluster.try_docker(others[0], &["node", "ls", "--format", "{{.ManagerStatus}}"]);
        states.stdout.contains("Leader").then_some(())
    });
    let labels = ["handler=exec", "max=4"];
    let fresh = cluster.function_by(others[0], "fresh", &labels, SHELL, &["sh", "-c", "echo $NODE"]);
    for node in &others {
        let address = cluster.address(*node);
        let answer = eventually("a function from nothing", || {
            get(&address, &fresh.path())
                .ok()
                .filter(|answer| answer.status == 200)
        });
        assert_ne!(answer.body, format!("node-{leader}"));
    }
    drop(fresh);
    cluster.start(leader);
    cluster.whole();
    nothing_remains(&cluster, leader);
}

#[test]
fn an_agent_that_is_killed_costs_what_ran_there_and_another_clears_up() {
    let cluster = Cluster::installed();
    let slow = cluster.spread("slow", "6");
    slow.answers_from(1, &NODES);
    let callers = nine(&cluster, &slow, 1);
    let ran = of_them_on("node-2", &cluster, &slow, 1);
    cluster.docker(2, &["kill", "skep-agent"]);
    let killed = Instant::now();
    its_own_are_lost(&callers.join().expect("the callers"), ran, "node-2");
    assert!(killed.elapsed() < SECONDS);
    slow.answers_from(3, &NODES);
    drop(slow);
    nothing_remains(&cluster, 2);
}

#[test]
fn a_gateway_that_is_killed_leaves_the_others_at_work_and_runs_what_it_accepted_when_it_is_back() {
    let cluster = Cluster::installed();
    let quick = cluster.spread("quick", "1");
    quick.answers_from(1, &NODES);
    let load = Load::begin(cluster.addresses(&[1, 2]), &quick.path(), 4);
    let address = cluster.address(3);
    let request = format!("POST {}", quick.path());
    // The queue's servers may have come back a moment ago.
    let accepted = eventually("work to be accepted", || {
        skep_swarm_tests::ask(&address, &request, &["Prefer: respond-async"], "x")
            .ok()
            .filter(|answer| answer.status == 202)
    });
    let location = accepted
        .head
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .expect("a place")
        .to_owned();
    let filter = ["ps", "-q", "--filter", "label=skep.part=gateway"];
    let gateway = cluster.docker(3, &filter);
    cluster.docker(3, &["kill", &gateway]);
    eventually("another gateway", || {
        let now = cluster.docker(3, &filter);
        (!now.is_empty() && now != gateway).then_some(())
    });
    eventually("what it accepted to have run", || {
        let answer = get(&address, &location).ok()?;
        answer.body.contains("\"succeeded\"").then_some(())
    });
    let failed = failures(&load.end());
    assert!(failed.is_empty(), "{failed:?}");
    quick.answers_from(3, &NODES);
}

#[test]
fn an_engine_that_restarts_is_back_with_nothing_left_of_before() {
    let cluster = Cluster::installed();
    let slow = cluster.spread("slow", "4");
    slow.answers_from(1, &NODES);
    let callers = nine(&cluster, &slow, 1);
    cluster.restart(2);
    let answers = callers.join().expect("the callers");
    // What ran there may have had the time to end; what had not is told so.
    let told = |outcome: &&Outcome| {
        outcome
            .as_ref()
            .is_ok_and(|answer| [200, 502].contains(&answer.status))
    };
    assert_eq!(answers.iter().filter(told).count(), 9, "{:?}", statuses(&answers));
    drop(slow);
    cluster.whole();
    nothing_remains(&cluster, 2);
}

#[test]
fn without_its_registry_a_cluster_runs_what_its_nodes_have() {
    let cluster = Cluster::installed();
    let labels = ["handler=exec", "max=4"];
    let known = cluster.function("known", &labels, SHELL, &["sh", "-c", "echo $NODE"]);
    cluster.registry("off");
    let answer = eventually("a function from nothing", || {
        get(&cluster.address(2), &known.path()).ok()
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    cluster.registry("on");
}
