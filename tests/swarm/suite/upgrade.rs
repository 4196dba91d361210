//! A newer image of Skep, under load.

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use skep_swarm_tests::{Cluster, Load, NODES, SHELL, Sample, built, eventually, get, skep_image};

use crate::calls::CALL;

/// The same binary in an image that is another's.
fn newer() -> String {
    let image = format!("{}-newer", skep_image());
    let file = format!("FROM {}\nLABEL newer=yes\n", skep_image());
    built(&image, &file, &[])
}

fn sandboxes(cluster: &Cluster) -> Vec<String> {
    let of = |node| cluster.docker(node, &["ps", "-q", "--filter", "label=skep.sandbox"]);
    NODES.into_iter().map(of).collect()
}

/// How often it is looked whether somebody listens.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until `stopped` whether somebody listens on a gateway's port; gives the longest time that nobody did.
fn longest_gap(address: &str, stopped: Receiver<()>) -> JoinHandle<Duration> {
    let address: SocketAddr = format!("{address}:8080").parse().expect("an address");
    thread::spawn(move || {
        let (mut since, mut longest) = (None, Duration::ZERO);
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
                Ok(_) => since = None,
                Err(_) => longest = longest.max(since.get_or_insert_with(Instant::now).elapsed()),
            }
        }
        longest
    })
}

fn all_succeeded(samples: &[Sample]) {
    let failed: Vec<_> = samples.iter().filter(|sample| !sample.succeeded()).collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:?}",
        failed.len(),
        samples.len()
    );
}

#[test]
fn an_upgrade_fails_no_request_of_callers_who_try_another_gateway_and_keeps_the_sandboxes() {
    let cluster = Cluster::installed();
    let image = cluster.push(&newer());
    let function = cluster.spread("rolled", "0.2");
    function.answers_from(1, &NODES);
    // Another function's own calls go on as well: who calls needs no certain gateway.
    let hidden = cluster.function(
        "hidden",
        &["handler=exec", "route=none"],
        SHELL,
        &["echo", "found"],
    );
    let script = format!(
        r#"{CALL} case "$(call {})" in "HTTP/1.1 200"*found*) exit 0;; esac; exit 1"#,
        hidden.name
    );
    let labels = ["handler=exec", "max=12", "slots=4", "sandboxes=3"];
    let caller = cluster.function("calls", &labels, SHELL, &["bash", "-c", &script]);
    for node in NODES {
        eventually("a call from one function to another", || {
            let answer = get(&cluster.address(node), &caller.path()).ok()?;
            (answer.status == 200).then_some(())
        });
    }
    let before = sandboxes(&cluster);
    let load = Load::begin_anywhere(cluster.addresses(&NODES), &function.path(), 5);
    let calls = Load::begin_anywhere(cluster.addresses(&NODES), &caller.path(), 2);
    let (stop, stopped) = mpsc::channel();
    let gap = longest_gap(&cluster.address(1), stopped);
    let upgraded = cluster.install(&image);
    let (samples, calls) = (load.end(), calls.end());
    drop(stop);
    println!(
        "nobody listened on a gateway's port for {:?} at most",
        gap.join().expect("the looker")
    );
    assert_eq!(upgraded.code, Some(0), "{}", upgraded.stderr);
    all_succeeded(&samples);
    all_succeeded(&calls);
    assert_eq!(sandboxes(&cluster), before);
    for node in NODES {
        let image = cluster.docker(node, &["inspect", "skep-agent", "--format", "{{.Config.Image}}"]);
        let labels = cluster.docker(node, &["inspect", &image, "--format", "{{.Config.Labels.newer}}"]);
        assert_eq!(labels, "yes", "node {node}");
    }
    cluster.forget_installed();
}
