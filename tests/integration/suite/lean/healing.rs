//! Skep's cgroups, taken away while it runs: the next request works, or Docker serves it and says why.

use std::path::Path;
use std::process::Command;

use futures::future::join_all;
use http::StatusCode;
use rustix::process::Pid;
use skep_tests::{DEBIAN, Skep, cgroup_homes, eventually, probe_image};

const NONE: [&str; 2] = ["--network", "none"];
const EXEC: [&str; 2] = ["handler=exec", "engine=lean"];

/// Removes a cgroup in which nothing runs, and all below it.
pub(super) fn remove(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}

/// Takes away all that a Skep has of cgroups while it has no instances.
async fn take_away(skep: &Skep) {
    skep.nothing_made().await;
    let homes = cgroup_homes(skep.docker.namespace());
    assert!(!homes.is_empty());
    for home in homes {
        remove(&home).unwrap_or_else(|error| panic!("{}: {error}", home.display()));
    }
}

#[tokio::test]
async fn cgroups_that_somebody_removed_are_made_again_by_the_next_requests() {
    let skep = Skep::start("healing").await;
    let probe = probe_image();
    skep.deploy("hello", &EXEC, &NONE, &[&probe, "echo", "hello"])
        .await;
    skep.deploy("served", &["engine=lean"], &[], &[&probe, "http"])
        .await;
    // A block device, which nobody gave it: what guards devices is there again as well.
    let script = "mknod /tmp/device b 7 0; head -c 1 /tmp/device 2>&1; true";
    skep.deploy("device", &EXEC, &NONE, &[DEBIAN, "sh", "-c", script])
        .await;
    let homes = cgroup_homes(skep.docker.namespace());
    for round in 0..3 {
        take_away(&skep).await;
        let paths = ["/hello", "/served/pid", "/hello", "/served/pid"];
        let answers = join_all(paths.map(|path| skep.public.get(path))).await;
        for answer in answers {
            assert_eq!(answer.status, StatusCode::OK, "round {round}: {answer:?}");
        }
        assert_eq!(cgroup_homes(skep.docker.namespace()), homes);
        take_away(&skep).await;
        let refused = skep.public.get("/device").await;
        assert!(refused.text().contains("Operation not permitted"), "{refused:?}");
    }
    assert!(skep.said().contains("they were made again"), "{}", skep.said());
    skep.finish().await;
}

#[tokio::test]
async fn a_scope_that_an_administrator_stops_is_asked_for_again() {
    if !Path::new("/run/systemd/system").is_dir() {
        println!("left out: there is no systemd here");
        return;
    }
    let skep = Skep::start("healing-scope").await;
    let probe = probe_image();
    skep.deploy("hello", &EXEC, &NONE, &[&probe, "echo", "hello"])
        .await;
    skep.deploy("kept", &["engine=lean", "recycle=idle"], &NONE, &[&probe, "http"])
        .await;
    // Nothing but SIGKILL ends it, and systemd would wait a minute and a half before it says that.
    skep.deploy("stubborn", &EXEC, &NONE, &[&probe, "ignore-term"])
        .await;
    for round in 0..2 {
        assert_eq!(skep.public.get("/kept/count").await.text().trim(), "1");
        let public = skep.public;
        let stubborn = tokio::spawn(async move { public.get("/stubborn").await.status });
        eventually("the stubborn one", async || {
            let list = skep.control.get("/v1/instances").await;
            list.text().contains("\"stubborn\"").then_some(())
        })
        .await;
        let mut stop = Command::new("systemctl");
        let scope = format!("skep-{}-{}.scope", skep.docker.namespace(), number(skep.pid()));
        let stopped = stop.args(["stop", "--no-block", &scope]).status();
        assert!(stopped.expect("systemctl").success());
        eventually("systemd to begin", async || {
            let mut state = Command::new("systemctl");
            let state = state.args(["is-active", &scope]).output().expect("systemctl");
            (!state.stdout.starts_with(b"active")).then_some(())
        })
        .await;
        let answer = skep.public.get("/hello").await;
        assert_eq!(answer.status, StatusCode::OK, "round {round}: {answer:?}");
        assert_ne!(stubborn.await.expect("the caller ends"), StatusCode::OK);
    }
    skep.finish().await;
}

fn number(process: Pid) -> i32 {
    process.as_raw_nonzero().get()
}
