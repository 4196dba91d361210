//! What somebody tries who looks for what is Skep's own behind the socket: its open files, its memory, its threads.

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use rustix::fs::{Mode, OFlags};
use skep_tests::{DEBIAN, Skep, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{call, docker, open, run, shell};

/// Asks for a child's streams; the connection, and the first line of the answer.
async fn attach(socket: &PathBuf, child: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(socket).await.expect("the socket");
    let path = format!("/containers/{child}/attach?stream=1&stdout=1");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
    );
    // One that has no place is answered before it says anything.
    drop(stream.write_all(request.as_bytes()).await);
    let mut head = vec![0; 1024];
    let length = stream.read(&mut head).await.unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..length]);
    let first = head.lines().next().unwrap_or_default().to_owned();
    (stream, first)
}

#[tokio::test]
async fn who_attaches_keeps_its_place_and_is_missed_when_it_has_gone() {
    let skep = Skep::start("holes-attach").await;
    shell(
        &skep,
        "sh",
        &["spawn=debian:bookworm-slim"],
        &["--network", "none"],
    )
    .await;
    let (socket, running) = open(&skep, "sh").await;
    let child = docker(&socket, &["run", "-d", DEBIAN, "sleep", "300"])
        .await
        .unwrap();
    let mut held = Vec::new();
    let refused = loop {
        let (stream, first) = attach(&socket, &child).await;
        if !first.starts_with("HTTP/1.1 101") {
            break first;
        }
        held.push(stream);
        assert!(held.len() <= 128, "more streams than a socket takes connections");
    };
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    // The child never says anything: nothing is written that could fail.
    drop(held);
    eventually("a place to be free", async || {
        let (_, first) = attach(&socket, &child).await;
        first.starts_with("HTTP/1.1 101").then_some(())
    })
    .await;
    docker(&socket, &["rm", "-f", &child]).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn a_working_directory_that_is_no_place_inside_is_refused() {
    // What Skep has open where it makes a process may be a folder of the host's; here its root.
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let host = rustix::fs::open("/", flags, Mode::empty()).unwrap();
    let way = format!("/proc/self/fd/{}", host.as_raw_fd());
    let skep = Skep::start("holes-directory").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let script = format!(
        "docker run -d --name box {DEBIAN} sleep 300 >/dev/null
         docker exec -w {way} box echo OUTSIDE
         docker exec box ln -s {way} /way
         docker exec -w /way box echo OUTSIDE
         docker exec -w /way/etc -u 1000 box echo OUTSIDE
         docker run --rm -w {way} {DEBIAN} echo OUTSIDE
         docker exec -w /etc box pwd
         docker rm -f box"
    );
    let said = run(&skep, "sh", &script).await;
    assert!(!said.contains("OUTSIDE"), "{said}");
    assert!(said.contains("working directory"), "{said}");
    assert!(said.ends_with("/etc\nbox\n"), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn files_are_copied_from_and_to_nothing_but_files() {
    let skep = Skep::start("holes-files").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let script = format!(
        "docker run -d --name box --tmpfs /quick {DEBIAN} sh -c 'echo kept >/quick/own; exec sleep 300' >/dev/null
         docker exec box ln -s /proc/1/root /way
         for path in /proc/1/root/etc/passwd /proc/self/exe /way/etc/passwd /sys/kernel; do
           docker cp box:$path - >/dev/null 2>&1 && echo COPIED $path
         done
         docker cp box:/proc - | tar -tf - | wc -l
         echo new >/tmp/new; docker cp /tmp/new box:/proc/1/root/tmp/new >/dev/null 2>&1 && echo PUT
         docker cp /tmp/new box:/quick/new; docker exec box ls /quick
         docker cp /tmp/new box:/srv/new; docker exec box cat /srv/new; docker cp box:/srv/new - | tar -xOf -
         docker rm -f box"
    );
    let said = run(&skep, "sh", &script).await;
    assert!(!said.contains("COPIED") && !said.contains("PUT"), "{said}");
    // As with Docker, what is in memory is not among a container's files.
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.contains("Successfully"))
        .collect();
    assert_eq!(lines, ["1", "own", "new", "new", "box"], "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn files_that_are_put_into_children_are_held_to_the_memory_that_is_granted() {
    let skep = Skep::start("holes-room").await;
    let labels = ["spawn=debian:bookworm-slim", "spawn.memory=64m", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    // None of them runs, so that no cgroup counts what they have.
    let script = format!(
        "for name in one two three; do docker create --name $name {DEBIAN} true >/dev/null; done
         head -c 24m /dev/zero >/tmp/much
         for name in one two three; do docker cp /tmp/much $name:/srv/much 2>&1 | grep -o 'skep.spawn.memory grants'; done
         docker rm one two; docker cp /tmp/much three:/srv/other 2>&1 | grep -c skep.spawn.memory
         docker rm three"
    );
    let said = run(&skep, "sh", &script).await;
    assert_eq!(said, "skep.spawn.memory grants\none\ntwo\n0\nthree\n");
    skep.finish().await;
}

#[tokio::test]
async fn what_children_are_made_from_fills_no_memory() {
    let skep = Skep::start("holes-weight").await;
    let labels = [
        "spawn=debian:bookworm-slim",
        "spawn.max=4",
        "spawn.total=1000",
        "engine=lean",
    ];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let (socket, running) = open(&skep, "sh").await;
    let large = format!("A={}", "x".repeat(100_000));
    let body = serde_json::json!({ "Image": DEBIAN, "Cmd": ["true"], "Env": [large, format!("B{large}")] })
        .to_string();
    let makers = (0..2).map(|_| async {
        for _ in 0..24 {
            let (status, said) = call(&socket, "POST", "/containers/create", &body).await;
            assert_eq!(status, 201, "{said}");
            let made: serde_json::Value = serde_json::from_str(&said).unwrap();
            let child = made["Id"].as_str().unwrap();
            for verb in ["start", "wait"] {
                let (status, said) = call(&socket, "POST", &format!("/containers/{child}/{verb}"), "").await;
                assert!(status < 300, "{said}");
            }
        }
    });
    join_all(makers).await;
    let (_, listed) = call(&socket, "GET", "/containers/json?all=1", "").await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let left = listed.as_array().unwrap().len();
    assert!((10..=44).contains(&left), "{left} of 48 are kept");
    // Nor do the events that repeat their labels.
    let labels: serde_json::Map<_, _> = (0..300).map(|number| (number.to_string(), "".into())).collect();
    for labels in [labels.into(), serde_json::json!({ "a": "x".repeat(20_000) })] {
        let body = serde_json::json!({ "Image": DEBIAN, "Labels": labels }).to_string();
        let (status, said) = call(&socket, "POST", "/containers/create", &body).await;
        assert!(status == 403 && said.contains("Labels"), "{status} {said}");
    }
    running.abort();
}

#[tokio::test]
async fn archives_that_nobody_reads_hold_up_no_other() {
    let skep = Skep::start("holes-archives").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let quiet = [DEBIAN, "echo", "quiet"];
    skep.deploy("quiet", &["handler=exec"], &["--network", "none"], &quiet)
        .await;
    let mut held = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(open(&skep, "sh").await);
    }
    let child = docker(&sockets[0].0, &["run", "-d", DEBIAN, "sleep", "300"])
        .await
        .unwrap();
    for number in 0..400 {
        let mut stream = UnixStream::connect(&sockets[number % 4].0).await.unwrap();
        let request = format!("GET /containers/{child}/export HTTP/1.1\r\nHost: d\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    for _ in 0..5 {
        let answer = tokio::time::timeout(Duration::from_secs(20), skep.public.get("/quiet")).await;
        assert_eq!(answer.expect("answered").text(), "quiet\n");
    }
    let pid = skep.pid().as_raw_nonzero();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    assert!(threads < 300, "{threads} threads");
    drop(held);
    docker(&sockets[1].0, &["rm", "-f", &child]).await.unwrap();
    for (_, running) in sockets {
        running.abort();
    }
}

#[tokio::test]
async fn who_does_not_read_and_who_waits_for_ever_keep_no_child_from_its_end() {
    let skep = Skep::start("holes-end").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let (socket, running) = open(&skep, "sh").await;
    let made = async |command: &[&str]| {
        docker(&socket, &[&["create", DEBIAN], command].concat())
            .await
            .unwrap()
    };
    let call = async |method: &str, path: &str| {
        let answer = tokio::time::timeout(Duration::from_secs(40), call(&socket, method, path, "")).await;
        answer
            .unwrap_or_else(|_| panic!("{method} {path} is not answered"))
            .0
    };
    let talks = made(&["sh", "-c", "head -c 9000000 /dev/zero | tr '\\0' x"]).await;
    let (unread, first) = attach(&socket, &talks).await;
    assert!(first.starts_with("HTTP/1.1 101"), "{first}");
    assert_eq!(call("POST", &format!("/containers/{talks}/start")).await, 204);
    assert_eq!(call("DELETE", &format!("/containers/{talks}?force=1")).await, 204);
    drop(unread);
    let stays = made(&["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]).await;
    assert_eq!(call("POST", &format!("/containers/{stays}/start")).await, 204);
    let mut restarts = UnixStream::connect(&socket).await.unwrap();
    let request =
        format!("POST /containers/{stays}/restart?t=-1 HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n");
    restarts.write_all(request.as_bytes()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(call("GET", &format!("/containers/{stays}/json")).await, 200);
    }
    assert_eq!(call("DELETE", &format!("/containers/{stays}?force=1")).await, 204);
    running.abort();
}
