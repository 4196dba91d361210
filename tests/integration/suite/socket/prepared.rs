//! Children that are made while they wait for their start: nobody sees a difference, and nothing is left of one that
//! is never started.

use rustix::process::{Pid, Signal, kill_process};
use skep_tests::{DEBIAN, Skep, eventually, processes_in};

use super::{docker, open, shell};

const NONE: [&str; 2] = ["--network", "none"];

async fn waits(child: &str) -> i32 {
    eventually("the child to wait for its start", async || {
        processes_in(child).first().copied()
    })
    .await
}

async fn is_gone(child: &str) {
    eventually("what was prepared to go", async || {
        processes_in(child).is_empty().then_some(())
    })
    .await;
}

async fn used(skep: &Skep) -> u64 {
    let text = skep.control.get("/metrics").await.text().to_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("skep_lean_prepared_launches_total "));
    line.and_then(|value| value.trim().parse().ok())
        .expect("it is counted")
}

#[tokio::test]
async fn a_child_is_made_while_its_start_is_awaited() {
    let skep = Skep::start("child-ahead").await;
    let labels = [
        "spawn=debian:bookworm-slim",
        "engine=lean",
        "spawn.networks=bridge",
    ];
    shell(&skep, "sh", &labels, &NONE).await;
    let (socket, running) = open(&skep, "sh").await;
    let script = "echo $$ $(hostname) $WORD; cat /etc/hostname; ls /proc >/tmp/all; grep -c '^[0-9]' /tmp/all; ls /proc/self/fd | wc -l; cat";
    for network in ["none", "bridge"] {
        let create = [
            "create",
            "-i",
            "--network",
            network,
            "--hostname",
            "host",
            "-e",
            "WORD=said",
            DEBIAN,
            "sh",
            "-c",
            script,
        ];
        // The first of a network stands in the sandbox that its shape was looked at with.
        let child = docker(&socket, &create).await.unwrap();
        waits(&child).await;
        let state = docker(
            &socket,
            &["inspect", "--format", "{{.State.Status}} {{.State.Pid}}", &child],
        )
        .await;
        assert_eq!(state.unwrap(), "created 0");
        let before = used(&skep).await;
        let said = docker(&socket, &["start", "-a", "-i", &child]).await.unwrap();
        assert_eq!(used(&skep).await, before + 1, "{network}");
        assert_eq!(said, "1 host said\nhost\n2\n4", "{network}");
        // Its second run is made whole, on the files of its first.
        docker(&socket, &["start", "-a", "-i", &child]).await.unwrap();
        assert_eq!(used(&skep).await, before + 1, "{network}");
        docker(&socket, &["rm", &child]).await.unwrap();
    }
    running.abort();
    skep.finish().await;
}

#[tokio::test]
async fn what_was_prepared_of_a_child_goes_where_it_is_not_started() {
    let skep = Skep::start("child-unstarted").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean", "spawn.max=4"];
    shell(&skep, "sh", &labels, &NONE).await;
    let (socket, running) = open(&skep, "sh").await;
    let create = ["create", DEBIAN, "cat", "/etc/put"];

    let removed = docker(&socket, &create).await.unwrap();
    waits(&removed).await;
    docker(&socket, &["rm", &removed]).await.unwrap();
    is_gone(&removed).await;

    // Files are put into a root that nothing runs in.
    let filled = docker(&socket, &create).await.unwrap();
    waits(&filled).await;
    let file = skep.data().join("put");
    std::fs::write(&file, "put\n").unwrap();
    let to = format!("{filled}:/etc/put");
    docker(&socket, &["cp", &file.display().to_string(), &to])
        .await
        .unwrap();
    assert_eq!(docker(&socket, &["start", "-a", &filled]).await.unwrap(), "put");

    // Nobody starts it for seconds, and then somebody does.
    let late = docker(&socket, &["create", DEBIAN, "echo", "late"])
        .await
        .unwrap();
    waits(&late).await;
    is_gone(&late).await;
    assert_eq!(docker(&socket, &["start", "-a", &late]).await.unwrap(), "late");

    // Somebody ends it meanwhile.
    let killed = docker(&socket, &["create", DEBIAN, "echo", "killed"])
        .await
        .unwrap();
    let process = Pid::from_raw(waits(&killed).await).unwrap();
    kill_process(process, Signal::KILL).unwrap();
    assert_eq!(
        docker(&socket, &["start", "-a", &killed]).await.unwrap(),
        "killed"
    );

    for child in [&filled, &late, &killed] {
        docker(&socket, &["rm", child]).await.unwrap();
    }
    let last = docker(&socket, &create).await.unwrap();
    waits(&last).await;
    running.abort();
    // Skep's end takes along what waits.
    skep.finish().await;
    is_gone(&last).await;
}
