//! Instances that are prepared before they are asked for: as fresh as any other, and gone when nobody asks.

use http::StatusCode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process};
use skep_tests::{DEBIAN, Skep, cgroup_homes, cgroups, eventually, probe_image};

use super::crash::spawner;

const LABELS: [&str; 2] = ["handler=exec", "engine=lean"];
const NONE: [&str; 2] = ["--network", "none"];

/// What a metric without labels says.
async fn metric(skep: &Skep, name: &str) -> u64 {
    let text = skep.control.get("/metrics").await.text().to_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok())
        .expect("it is counted")
}

async fn used(skep: &Skep) -> u64 {
    metric(skep, "skep_lean_prepared_launches_total").await
}

/// Asks until one waits to be asked for, and gives its process.
async fn waiting(skep: &Skep, path: &str) -> Pid {
    eventually("an instance to be prepared", async || {
        assert_eq!(skep.public.get(path).await.status, StatusCode::OK);
        eventually("the instance of the request to go", async || {
            let list = skep.control.get("/v1/instances").await.json();
            list["instances"].as_array()?.is_empty().then_some(())
        })
        .await;
        if metric(skep, "skep_lean_prepared").await == 0 {
            return None;
        }
        let maker = spawner(skep)?.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{maker}/task/{maker}/children")).ok()?;
        Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
    })
    .await
}

#[tokio::test]
async fn a_prepared_instance_is_as_fresh_as_any_other() {
    let skep = Skep::start("prepared-fresh").await;
    let script = "test -e /mark && echo stale; touch /mark /dev/shm/mark; (sleep 1000 &); echo $$; \
                  ls /proc/self/fd | wc -l; test \"$(cat /etc/hostname)\" = \"$(hostname)\" && grep -c $HOSTNAME /etc/hosts; \
                  hostname; sed -n 's/.*memory:.*\\///p; s/^0::.*\\///p' /proc/self/cgroup | head -1; ls /proc | grep -c '^[0-9]'";
    skep.deploy("none", &LABELS, &NONE, &[DEBIAN, "sh", "-c", script])
        .await;
    skep.deploy("bridge", &LABELS, &[], &[DEBIAN, "sh", "-c", script])
        .await;
    for path in ["/none", "/bridge"] {
        let (mut names, mut first) = (std::collections::BTreeSet::new(), None);
        let before = used(&skep).await;
        eventually("prepared instances to be used", async || {
            let answer = skep.public.get(path).await;
            let text = answer.text().to_owned();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines[0], "1", "{text}");
            assert!(names.insert(lines[lines.len() - 3].to_owned()), "{text}");
            // But for the names it is the same whichever way it was made.
            let same: Vec<String> = lines[..lines.len() - 3]
                .iter()
                .map(|line| (*line).to_owned())
                .collect();
            assert_eq!(*first.get_or_insert_with(|| same.clone()), same, "{text}");
            (used(&skep).await >= before + 3).then_some(())
        })
        .await;
    }
    let list = skep.control.get("/v1/instances").await.json();
    assert_eq!(list["instances"].as_array().map(Vec::len), Some(0), "{list:#}");
    // Nobody asks any more.
    skep.nothing_made().await;
    assert_eq!(metric(&skep, "skep_lean_prepared").await, 0);
    skep.finish().await;
}

#[tokio::test]
async fn one_that_is_killed_while_it_waits_costs_nobody_anything() {
    let mut skep = Skep::start("prepared-killed").await;
    let probe = probe_image();
    skep.deploy("hello", &LABELS, &NONE, &[&probe, "echo", "hello"])
        .await;
    for _ in 0..3 {
        let process = waiting(&skep, "/hello").await;
        kill_process(process, Signal::KILL).expect("it waits");
        assert_eq!(skep.public.get("/hello").await.text(), "hello\n");
    }
    // With its maker it goes, and with Skep.
    waiting(&skep, "/hello").await;
    kill_process(spawner(&skep).expect("there is one"), Signal::KILL).expect("it runs");
    eventually("an answer", async || {
        (skep.public.get("/hello").await.status == StatusCode::OK).then_some(())
    })
    .await;
    waiting(&skep, "/hello").await;
    let namespace = skep.docker.namespace().to_owned();
    skep.kill();
    eventually("its cgroups to go", async || {
        cgroups(&namespace).is_empty().then_some(())
    })
    .await;
    skep.restart().await;
    waiting(&skep, "/hello").await;
    skep.finish().await;
}

#[tokio::test]
async fn what_was_prepared_for_a_template_goes_with_it() {
    let skep = Skep::start("prepared-old").await;
    let probe = probe_image();
    let old = skep
        .deploy("hello", &LABELS, &NONE, &[&probe, "echo", "old"])
        .await;
    waiting(&skep, "/hello").await;
    skep.deploy("hello", &LABELS, &NONE, &[&probe, "echo", "new"])
        .await;
    skep.docker.run(&["rm", &old]);
    for _ in 0..5 {
        assert_eq!(skep.public.get("/hello").await.text(), "new\n");
    }
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn what_was_prepared_in_a_sandbox_goes_with_it() {
    let skep = Skep::start("prepared-lost").await;
    skep.deploy("hello", &LABELS, &[], &[&probe_image(), "echo", "hello"])
        .await;
    let process = waiting(&skep, "/hello").await;
    let end = rustix::process::pidfd_open(process, PidfdFlags::empty()).expect("it waits");
    let list = skep.control.get("/v1/sandboxes").await.json();
    let sandbox = list["sandboxes"][0]["id"].as_str().expect("there is one");
    skep.docker.run(&["kill", sandbox]);
    // Sooner than it would for want of requests.
    let patience = Timespec {
        tv_sec: 8,
        tv_nsec: 0,
    };
    let gone = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&patience));
    assert_eq!(gone.expect("it can be waited for"), 1, "it ends");
    eventually("an answer from another sandbox", async || {
        (skep.public.get("/hello").await.status == StatusCode::OK).then_some(())
    })
    .await;
    skep.finish().await;
}

#[tokio::test]
async fn what_a_bind_shows_is_looked_at_when_an_instance_starts() {
    let skep = Skep::start("prepared-bind").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "0").expect("written");
    let bind = format!("{}:/secret:ro", file.display());
    let flags = ["--network", "none", "-v", &bind];
    skep.deploy("bound", &LABELS, &flags, &[DEBIAN, "cat", "/secret"])
        .await;
    for number in 0..10 {
        // Another file under the name, as whoever replaces a secret does.
        let next = folder.path().join("next");
        std::fs::write(&next, number.to_string()).expect("written");
        std::fs::rename(&next, &file).expect("replaced");
        assert_eq!(skep.public.get("/bound").await.text(), number.to_string());
    }
    skep.finish().await;
}

#[tokio::test]
async fn what_ends_a_prepared_instance_is_told_as_for_any_other() {
    let skep = Skep::start("prepared-ends").await;
    let memory = ["--network", "none", "--memory", "48m", "--memory-swap", "48m"];
    let (probe, before) = (probe_image(), used(&skep).await);
    skep.deploy("memory", &LABELS, &memory, &[&probe, "memory", "200"])
        .await;
    skep.deploy("missing", &LABELS, &NONE, &[DEBIAN, "/no/such/program"])
        .await;
    let slow = ["handler=exec", "engine=lean", "timeout=300ms"];
    skep.deploy("slow", &slow, &NONE, &[&probe, "sleep", "1000"])
        .await;
    let (mut first, mut endings) = (true, Vec::new());
    eventually("prepared instances to be used", async || {
        for (index, path) in ["/memory", "/missing", "/slow"].into_iter().enumerate() {
            let answer = skep.public.get(path).await;
            let ending = skep.record_of(&answer).await["ending"].clone();
            let said = (answer.status, ending["exit_code"].clone(), ending["code"].clone());
            if first {
                endings.push(said);
            } else {
                assert_eq!(said, endings[index], "{path}");
            }
        }
        first = false;
        (used(&skep).await >= before + 3).then_some(())
    })
    .await;
    assert_eq!(endings[0].1, 137);
    skep.finish().await;
}

#[tokio::test]
async fn what_is_just_being_prepared_when_skep_ends_is_waited_for_and_goes() {
    for _ in 0..4 {
        let skep = Skep::start("prepared-end").await;
        skep.deploy("quick", &LABELS, &NONE, &[DEBIAN, "true"]).await;
        for _ in 0..3 {
            assert_eq!(skep.public.get("/quick").await.status, StatusCode::OK);
        }
        // The next are being made now.
        let namespace = skep.docker.namespace().to_owned();
        skep.finish().await;
        assert_eq!(cgroup_homes(&namespace), Vec::<std::path::PathBuf>::new());
    }
}
