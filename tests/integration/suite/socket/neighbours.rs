//! Functions that use their socket as badly as they can: each is held to its budget, and others are served.

use std::path::PathBuf;

use futures::future::join_all;
use skep_tests::{DEBIAN, Skep, eventually};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::{call, open, run, shell};

/// A function with four places for children, its socket, and another function that does next to nothing.
async fn begin(topic: &str, engine: &str) -> (Skep, PathBuf, tokio::task::JoinHandle<()>) {
    let skep = Skep::start(topic).await;
    let labels = [
        "spawn=debian:bookworm-slim",
        "spawn.max=4",
        "spawn.total=100000",
        engine,
    ];
    shell(&skep, "sh", &labels, &[]).await;
    let quiet = [DEBIAN, "echo", "quiet"];
    skep.deploy("quiet", &["handler=exec"], &["--network", "none"], &quiet)
        .await;
    let (socket, running) = open(&skep, "sh").await;
    (skep, socket, running)
}

async fn others_are_served(skep: &Skep) {
    assert_eq!(skep.public.get("/quiet").await.text(), "quiet\n");
}

fn body(command: &[&str]) -> String {
    serde_json::json!({ "Image": DEBIAN, "Cmd": command }).to_string()
}

async fn made(socket: &PathBuf, command: &[&str]) -> String {
    let (status, said) = call(socket, "POST", "/containers/create", &body(command)).await;
    assert_eq!(status, 201, "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    said["Id"].as_str().unwrap().to_owned()
}

async fn live(skep: &Skep) -> usize {
    let listed = skep.control.get("/v1/children").await.json();
    let children = listed["children"].as_array().unwrap().iter();
    let live = children.filter(|child| matches!(child["state"].as_str(), Some("created" | "running")));
    live.count()
}

#[tokio::test]
async fn who_starts_children_as_fast_as_it_can_has_no_more_than_its_budget() {
    let (skep, socket, running) = begin("neighbour-fork", "engine=auto").await;
    let attempts = (0..8).map(|_| async {
        let mut refused = 0;
        for _ in 0..25 {
            let (status, said) = call(&socket, "POST", "/containers/create", &body(&["sleep", "60"])).await;
            match status {
                201 => {}
                429 => refused += 1,
                other => panic!("{other} {said}"),
            }
            assert!(live(&skep).await <= 4);
        }
        refused
    });
    let refused: usize = join_all(attempts).await.into_iter().sum();
    assert_eq!(refused, 8 * 25 - 4);
    others_are_served(&skep).await;
    assert_eq!(live(&skep).await, 4);
    running.abort();
}

#[tokio::test]
async fn who_deletes_while_creating_loses_no_place() {
    let (skep, socket, running) = begin("neighbour-churn", "engine=auto").await;
    let churn = (0..6).map(|number| {
        let socket = &socket;
        async move {
            for _ in 0..10 {
                let path = format!("/containers/create?name=same{}", number % 3);
                let (made, _) = call(socket, "POST", &path, &body(&["true"])).await;
                assert!(matches!(made, 201 | 409 | 429), "{made}");
                let path = format!("/containers/same{}?force=1", number % 3);
                let (removed, said) = call(socket, "DELETE", &path, "").await;
                assert!(matches!(removed, 204 | 404 | 409), "{removed} {said}");
            }
        }
    });
    join_all(churn).await;
    others_are_served(&skep).await;
    run(&skep, "sh", "docker rm -f $(docker ps -aq) >/dev/null 2>&1").await;
    eventually("every place to be free", async || {
        (live(&skep).await == 0).then_some(())
    })
    .await;
    for _ in 0..4 {
        made(&socket, &["true"]).await;
    }
    let (status, _) = call(&socket, "POST", "/containers/create", &body(&["true"])).await;
    assert_eq!(status, 429);
    running.abort();
}

#[tokio::test]
async fn of_many_who_want_one_name_at_the_same_time_one_gets_it() {
    let (skep, socket, running) = begin("neighbour-name", "engine=auto").await;
    for round in 0..5 {
        let path = format!("/containers/create?name=lock{round}");
        let body = body(&["true"]);
        let makers = (0..4).map(|_| call(&socket, "POST", &path, &body));
        let mut answers: Vec<u16> = join_all(makers)
            .await
            .into_iter()
            .map(|(status, _)| status)
            .collect();
        answers.sort_unstable();
        assert_eq!(answers, [201, 409, 409, 409]);
        call(&socket, "DELETE", &format!("/containers/lock{round}?force=1"), "").await;
    }
    running.abort();
    skep.finish().await;
}

#[tokio::test]
async fn who_never_reads_its_logs_and_who_asks_for_ten_million_lines_take_no_memory() {
    for engine in ["engine=docker", "engine=auto"] {
        logs_that_nobody_reads(engine).await;
    }
}

async fn logs_that_nobody_reads(engine: &str) {
    let (skep, socket, running) = begin("neighbour-logs", engine).await;
    let endless = made(&socket, &["yes"]).await;
    let many = made(&socket, &["seq", "10000000"]).await;
    for child in [&endless, &many] {
        let (status, said) = call(&socket, "POST", &format!("/containers/{child}/start"), "").await;
        assert_eq!(status, 204, "{said}");
    }
    let mut held = Vec::new();
    for number in 0..40 {
        let child = if number % 2 == 0 { &endless } else { &many };
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let path = format!("/containers/{child}/logs?follow=1&stdout=1&tail=10000000");
        let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let (status, _) = call(&socket, "POST", &format!("/containers/{many}/wait"), "").await;
    assert_eq!(status, 200);
    others_are_served(&skep).await;
    let (status, _) = call(&socket, "GET", &format!("/containers/{endless}/json"), "").await;
    assert_eq!(status, 200);
    let pid = skep.pid().as_raw_nonzero();
    let said = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = said.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 400 << 10, "{resident} kB resident");
    // The log itself is bounded: much less comes than was written.
    let (_, lines) = call(&socket, "GET", &format!("/containers/{many}/logs?stdout=1"), "").await;
    assert!(lines.len() < 40 << 20, "{} bytes of log", lines.len());
    drop(held);
    for child in [endless, many] {
        call(&socket, "DELETE", &format!("/containers/{child}?force=1"), "").await;
    }
    running.abort();
}

#[tokio::test]
async fn who_nests_folders_as_deep_as_a_path_goes_ends_nobody() {
    let (skep, socket, running) = begin("neighbour-deep", "engine=auto").await;
    let nest = "i=0; while [ $i -lt 1900 ] && mkdir d && cd d; do i=$((i+1)); done; echo $i";
    let child = made(&socket, &["sh", "-c", &format!("mkdir /deep; cd /deep; {nest}")]).await;
    for path in [
        format!("/containers/{child}/start"),
        format!("/containers/{child}/wait"),
    ] {
        let (status, said) = call(&socket, "POST", &path, "").await;
        assert!(status < 300, "{said}");
    }
    for path in ["changes", "archive?path=/deep", "export"] {
        // What is too deep for an archive may break it off; nobody else hears of that.
        let asked =
            format!("GET /containers/{child}/{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
        super::raw(&socket, asked.as_bytes()).await;
        others_are_served(&skep).await;
    }
    let (status, said) = call(&socket, "GET", &format!("/containers/{child}/changes"), "").await;
    assert!(status == 200 && said.contains("/deep/d/d"), "{status}");
    call(&socket, "DELETE", &format!("/containers/{child}?force=1"), "").await;
    running.abort();
}
