//! What a cluster costs, and how fast it is back: `make bench-swarm` prints them. Two ways are asked in turns, and
//! only ratios and differences carry over to other machines.

use std::process::Command;
use std::time::{Duration, Instant};

use skep_swarm_tests::{Cluster, Load, NODES, ask, eventually, get_at, skep_image};
use skep_testing::probe_image;

/// How many requests of each kind.
const ROUNDS: usize = 200;
/// How often a function is begun from nothing, which takes a second each.
const BEGINNINGS: usize = 6;
/// Where one host's Skep listens, beside the gateway.
const ONE_HOST: u16 = 9090;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Three managers with the binary under test and the probe.
fn cluster() -> (Cluster, String) {
    let cluster = Cluster::own(3, 3);
    let image = cluster.push(&skep_image());
    let installed = cluster.skep(1, &["install", "--image", &image]);
    assert_eq!(installed.code, Some(0), "{}", installed.stderr);
    let probe = cluster.push(&probe_image());
    (cluster, probe)
}

fn timed(address: &str, port: u16, path: &str) -> Duration {
    let began = Instant::now();
    let answer = get_at(address, port, path).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    began.elapsed()
}

#[test]
#[ignore = "it measures: make bench-swarm"]
fn what_a_cluster_adds_to_one_host() {
    let (cluster, probe) = cluster();
    let address = cluster.address(1);
    // One host's Skep on the same node, beside the gateway and the agent.
    cluster.copy_binary(1, "/usr/local/bin/skep");
    let serve = "setsid skep serve --namespace one --data-dir /var/lib/one --listen 0.0.0.0:9090 \
                 --control 127.0.0.1:9091 --call-port 0 >/tmp/one.log 2>&1 &";
    cluster.exec(1, &["sh", "-c", serve]);
    cluster.docker(1, &["pull", "-q", &probe]);
    let kinds: [(&str, &[&str], &[&str], &str); 2] = [
        (
            "a fresh instance for each",
            &["handler=exec"],
            &["echo", "hello"],
            "",
        ),
        (
            "a reused http instance",
            &["recycle=idle", "concurrency=64", "max=1"],
            &["http"],
            // Its one answer that is written in one piece: Nagle's algorithm holds up the others.
            "/trailers",
        ),
    ];
    for (what, labels, command, path) in kinds {
        let mut labels = labels.to_vec();
        labels.push("sandboxes=1");
        let function = cluster.function_on(1, "cost", &labels, &probe, command);
        let mut create: Vec<String> = ["create", "--label", "skep.namespace=one"]
            .map(str::to_owned)
            .into();
        for label in labels
            .iter()
            .map(|label| (*label).to_owned())
            .chain([format!("function={}", function.name)])
        {
            create.extend(["--label".to_owned(), format!("skep.{label}")]);
        }
        create.push(probe.clone());
        create.extend(command.iter().map(|word| (*word).to_owned()));
        cluster.docker(1, &create.iter().map(String::as_str).collect::<Vec<_>>());
        let path = format!("{}{path}", function.path());
        for port in [8080, ONE_HOST] {
            eventually("an answer", || {
                get_at(&address, port, &path)
                    .ok()
                    .filter(|answer| answer.status == 200)
            });
        }
        let (mut swarm, mut one) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            swarm.push(timed(&address, 8080, &path));
            one.push(timed(&address, ONE_HOST, &path));
        }
        let (swarm, one) = (milliseconds(median(swarm)), milliseconds(median(one)));
        println!(
            "{what}: {swarm:.2} ms over the cluster, {one:.2} ms on one host: {:+.2} ms",
            swarm - one
        );
        if path.ends_with("trailers") {
            for (way, port) in [("over the cluster", 8080), ("on one host", ONE_HOST)] {
                let target = format!("http://{address}:{port}{path}");
                let wrk = Command::new("wrk")
                    .args(["-t1", "-c32", "-d5s", &target])
                    .output()
                    .expect("wrk");
                let said = String::from_utf8_lossy(&wrk.stdout).into_owned();
                let line = said
                    .lines()
                    .find(|line| line.starts_with("Requests/sec"))
                    .unwrap_or("?")
                    .to_owned();
                println!("{what}, 32 connections, {way}: {line}");
            }
        }
    }
}

#[test]
#[ignore = "it measures: make bench-swarm"]
fn the_first_request_from_nothing_beside_swarms_own_beginning() {
    let (cluster, probe) = cluster();
    let address = cluster.address(1);
    let (mut skep, mut swarm) = (Vec::new(), Vec::new());
    for _ in 0..BEGINNINGS {
        let function = cluster.function_on(1, "first", &[], &probe, &["http"]);
        let path = format!("{}/status/200", function.path());
        // Known to the gateway, and asked for by nobody.
        eventually("the function", || {
            cluster
                .control(1, &["ls"])
                .filter(|known| known.contains(&function.name))
                .map(drop)
        });
        skep.push(timed(&address, 8080, &path));
        drop(function);

        let create = [
            "service",
            "create",
            "-q",
            "-d",
            "--replicas",
            "0",
            "--endpoint-mode",
            "dnsrr",
        ];
        let more = [
            "--publish",
            "mode=host,published=7000,target=7000",
            "--constraint",
            "node.hostname==node-1",
        ];
        let last = ["--name", "plain", &probe, "http", "--port", "7000"];
        cluster.docker(1, &[&create[..], &more[..], &last[..]].concat());
        let began = Instant::now();
        cluster.docker(1, &["service", "update", "-q", "-d", "--replicas", "1", "plain"]);
        while get_at(&address, 7000, "/status/200").is_err() {
            // The time it takes is the figure: it is looked more often than `eventually` does.
            std::thread::sleep(Duration::from_millis(5));
        }
        swarm.push(began.elapsed());
        cluster.docker(1, &["service", "rm", "plain"]);
        eventually("the port to be free", || {
            cluster
                .docker(1, &["ps", "-q", "--filter", "name=plain"])
                .is_empty()
                .then_some(())
        });
    }
    let (skep, swarm) = (milliseconds(median(skep)), milliseconds(median(swarm)));
    println!(
        "first request from nothing: {skep:.0} ms, Swarm's own 0 to 1: {swarm:.0} ms: {:.2}x",
        skep / swarm
    );
}

#[test]
#[ignore = "it measures: make bench-swarm"]
fn how_much_work_a_clusters_queue_accepts() {
    let cluster = Cluster::own(3, 3);
    let image = cluster.push(&skep_image());
    let installed = cluster.install(&image);
    assert_eq!(installed.code, Some(0), "{}", installed.stderr);
    let probe = cluster.push(&probe_image());
    let address = cluster.address(1);
    // No node may run it: what is measured is taking it in.
    let function = cluster.function_on(9, "kept", &["handler=exec"], &probe, &["echo"]);
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("accept.lua");
    let lua = "wrk.method = 'POST'\nwrk.body = 'some work'\nwrk.headers['Prefer'] = 'respond-async'\n";
    std::fs::write(&script, lua).expect("a script for wrk");
    let target = format!("http://{address}:8080{}", function.path());
    eventually("the first to be accepted", || {
        let accepted = ask(
            &address,
            &format!("POST {}", function.path()),
            &["Prefer: respond-async"],
            "x",
        );
        accepted.ok().filter(|answer| answer.status == 202).map(drop)
    });
    for connections in ["1", "128"] {
        let connections = format!("-c{connections}");
        let wrk = Command::new("wrk")
            .args(["-t1", &connections, "-d8s", "--latency", "-s"])
            .arg(&script)
            .arg(&target)
            .output()
            .expect("wrk");
        let said = String::from_utf8_lossy(&wrk.stdout).into_owned();
        let told = |word: &str| said.lines().find(|line| line.contains(word)).map(str::trim);
        println!(
            "accepted into the queue of three servers, {connections}: {:?}, {:?}, {:?}",
            told("Requests/sec"),
            told("50%"),
            told("Non-2xx")
        );
    }
}

#[test]
#[ignore = "it measures: make bench-swarm"]
fn a_node_that_dies_under_a_hundred_requests_a_second() {
    let (cluster, probe) = cluster();
    let labels = ["handler=exec", "max=24", "slots=8", "sandboxes=3"];
    let function = cluster.function("rate", &labels, &probe, &["echo", "hello"]);
    function.sandboxes(1, NODES.len());
    let load = Load::begin(cluster.addresses(&[1, 2]), &function.path(), 100);
    eventually("the load to be served", || {
        (load.succeeded() > 1_000).then_some(())
    });
    cluster.kill(3);
    let killed = Instant::now();
    let noticed = eventually("Swarm to notice", || {
        let state = cluster.docker(1, &["node", "inspect", "node-3", "--format", "{{.Status.State}}"]);
        (state == "down").then(|| killed.elapsed())
    });
    let there = load.succeeded();
    eventually("a while", || (load.succeeded() > there + 1_500).then_some(()));
    let samples = load.end();
    let failed: Vec<_> = samples.iter().filter(|sample| !sample.succeeded()).collect();
    let last = samples
        .iter()
        .filter(|sample| !sample.succeeded() || sample.took > Duration::from_secs(1));
    let last = last
        .filter(|sample| sample.sent + sample.took > killed)
        .map(|sample| sample.sent + sample.took)
        .max();
    let back = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(killed));
    println!(
        "of {} requests at 100/s {} failed; Swarm noticed after {:.1} s; the last request that failed or took more \
         than a second ended {:.1} s after the node died",
        samples.len(),
        failed.len(),
        noticed.as_secs_f64(),
        back.as_secs_f64(),
    );
    let first_word = |sample: &&&skep_swarm_tests::Sample| match &sample.outcome {
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.clone(),
    };
    println!(
        "what they were told: {:?}",
        failed
            .iter()
            .map(|sample| first_word(&sample))
            .collect::<Vec<_>>()
    );
    assert!(
        failed.len() <= 16,
        "no more than that node had room for, from each of two gateways"
    );
}
