//! The lean engine when something is killed: nothing stays behind, and the next request works.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use skep_tests::{Client, DEBIAN, Skep, eventually, probe_image};

/// The process that makes a Skep's instances.
pub(super) fn spawner(skep: &Skep) -> Option<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", skep.pid().as_raw_nonzero())).ok()?;
    let children = tasks
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("children")));
    let children: String = children.filter_map(Result::ok).collect();
    let named = |child: &&str| {
        let command = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        command.ends_with(b"\0spawner\0")
    };
    let child = children.split_whitespace().find(named)?;
    Pid::from_raw(child.parse().ok()?)
}

/// How many of a Skep's own mounts the host sees.
pub(super) fn mounts(skep: &Skep) -> usize {
    let all = std::fs::read_to_string("/proc/self/mountinfo").expect("it is mounted");
    let data = skep.data().display().to_string();
    all.lines().filter(|line| line.contains(&data)).count()
}

/// Asks from four callers at once until it is told to end; counts what was answered well, and what was not.
pub(super) async fn load(public: Client, path: &str, stop: &AtomicBool) -> (u32, u32) {
    let caller = async || {
        let (mut good, mut bad) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let request = http::Request::get(path).body(skep_tests::empty());
            match public.try_send(request.expect("a request")).await {
                Ok(answer) if answer.status == StatusCode::OK => good += 1,
                _ => bad += 1,
            }
        }
        (good, bad)
    };
    let counts = join_all((0..4).map(|_| caller())).await;
    counts
        .into_iter()
        .fold((0, 0), |(good, bad), (more, worse)| (good + more, bad + worse))
}

#[tokio::test]
async fn a_killed_spawner_takes_its_instances_along_and_another_one_serves() {
    let skep = Skep::start("lean-spawner").await;
    let labels = ["handler=exec", "engine=lean"];
    let none = ["--network", "none"];
    skep.deploy("hello", &labels, &none, &[&probe_image(), "echo", "hello"])
        .await;
    skep.deploy("sleep", &labels, &none, &[&probe_image(), "sleep", "1000"])
        .await;
    skep.deploy(
        "kept",
        &["engine=lean", "recycle=idle"],
        &[],
        &[&probe_image(), "http"],
    )
    .await;
    assert_eq!(skep.public.get("/kept/count").await.text().trim(), "1");
    let stop = AtomicBool::new(false);
    let killing = async {
        for _ in 0..3 {
            let public = skep.public;
            let sleeping = tokio::spawn(async move {
                let request = http::Request::get("/sleep").body(skep_tests::empty());
                public
                    .try_send(request.expect("a request"))
                    .await
                    .map(|answer| answer.status)
            });
            eventually("the sleeping instance", async || {
                let list = skep.control.get("/v1/instances").await;
                list.text().contains("\"sleep\"").then_some(())
            })
            .await;
            let before = spawner(&skep).expect("there is one");
            kill_process(before, Signal::KILL).expect("it runs");
            let status = sleeping.await.expect("the caller ends");
            assert!(!matches!(status, Ok(StatusCode::OK)), "{status:?}");
            eventually("an answer", async || {
                (skep.public.get("/hello").await.status == StatusCode::OK).then_some(())
            })
            .await;
            assert_ne!(spawner(&skep), Some(before));
            // The load is served for a while before the next one is killed.
            for _ in 0..20 {
                assert_eq!(skep.public.get("/hello").await.status, StatusCode::OK);
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((good, bad), ()) = tokio::join!(load(skep.public, "/hello", &stop), killing);
    assert!(good > bad, "{good} answers, {bad} failures");
    // The instance that was kept has ended with its maker; a fresh one counts from one.
    assert_eq!(skep.public.get("/kept/count").await.text().trim(), "1");
    // Its end is heard as one of these, by what was under way.
    let said = skep.said();
    let heard = ["the spawner ended", "the line to the spawner broke"];
    assert!(heard.iter().any(|words| said.contains(words)), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn a_killed_skep_leaves_nothing_of_frozen_and_busy_instances() {
    let mut skep = Skep::start("lean-killed").await;
    let probe = probe_image();
    skep.deploy("kept", &["engine=lean", "recycle=idle"], &[], &[&probe, "http"])
        .await;
    let labels = ["handler=exec", "engine=lean"];
    let none = ["--network", "none"];
    skep.deploy("hello", &labels, &none, &[&probe, "echo", "hello"])
        .await;
    assert_eq!(skep.public.get("/kept/count").await.text().trim(), "1");
    eventually("the instance to be frozen", async || {
        let list = skep.control.get("/v1/instances").await;
        list.text().contains("\"frozen\"").then_some(())
    })
    .await;
    let stop = AtomicBool::new(false);
    let public = skep.public;
    let killing = async {
        for _ in 0..20 {
            assert_eq!(public.get("/hello").await.status, StatusCode::OK);
        }
        skep.kill();
        stop.store(true, Ordering::Relaxed);
    };
    let ((good, _), ()) = tokio::join!(load(public, "/hello", &stop), killing);
    assert!(good > 0);
    eventually("every instance to go", async || {
        skep.made().is_empty().then_some(())
    })
    .await;
    skep.restart().await;
    assert_eq!(skep.public.get("/kept/count").await.text().trim(), "1");
    assert_eq!(skep.public.get("/hello").await.text(), "hello\n");
    assert_eq!(mounts(&skep), 0, "no mount of an instance is the host's");
    skep.finish().await;
}

#[tokio::test]
async fn a_killed_sandbox_is_replaced() {
    let skep = Skep::start("lean-sandbox").await;
    skep.deploy("p", &["engine=lean"], &[], &[&probe_image(), "http"])
        .await;
    assert_eq!(skep.public.get("/p").await.status, StatusCode::OK);
    for how in [["kill"], ["rm"]] {
        let list = skep.control.get("/v1/sandboxes").await.json();
        let sandbox = list["sandboxes"][0]["id"]
            .as_str()
            .expect("there is one")
            .to_owned();
        let force: &[&str] = if how == ["rm"] { &["-f"] } else { &[] };
        skep.docker.run(&[&how[..], force, &[&sandbox]].concat());
        let answer = skep.public.get("/p").await;
        assert_eq!(answer.status, StatusCode::OK, "after {how:?}: {answer:?}");
    }
    skep.finish().await;
}

#[tokio::test]
async fn sandboxes_are_kept_as_many_as_the_label_says_and_go_with_their_template() {
    let skep = Skep::start("lean-kept").await;
    let labels = ["engine=lean", "sandbox=private", "sandboxes=2"];
    let template = skep.deploy("p", &labels, &[], &[&probe_image(), "http"]).await;
    let count = async |wanted: usize| {
        eventually("so many sandboxes", async || {
            let list = skep.control.get("/v1/sandboxes").await.json();
            (list["sandboxes"].as_array()?.len() == wanted).then_some(())
        })
        .await;
    };
    count(2).await;
    let answer = skep.public.get("/p").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.header("server-timing").contains("sandbox"), "{answer:?}");
    let metrics = skep.control.get("/metrics").await;
    assert!(metrics.text().contains("skep_lean_sandboxes 2"), "{metrics:?}");
    skep.docker.remove(&template);
    count(0).await;
    skep.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_is_made_while_its_template_goes_is_ended_as_well() {
    let skep = Skep::start("lean-late").await;
    let labels = ["engine=lean", "sandbox=private"];
    let template = skep.deploy("p", &labels, &[], &[&probe_image(), "http"]).await;
    let public = skep.public;
    let caller = tokio::spawn(async move { public.get("/p").await.status });
    eventually("a sandbox to be begun", async || {
        (!skep.left().is_empty()).then_some(())
    })
    .await;
    skep.docker.remove(&template);
    caller.await.expect("the caller has an answer, whichever");
    eventually("the sandbox to go", async || skep.left().is_empty().then_some(())).await;
    skep.finish().await;
}

#[tokio::test]
async fn without_docker_what_needs_no_network_goes_on() {
    let relay = skep_tests::Relay::start();
    let skep = Skep::with("lean-cut", &["--docker-host", &relay.host()]).await;
    let labels = ["handler=exec", "engine=lean"];
    let none = ["--network", "none"];
    skep.deploy("e", &labels, &none, &[DEBIAN, "echo", "hello"]).await;
    assert_eq!(skep.public.get("/e").await.text(), "hello\n");
    relay.cut();
    for _ in 0..3 {
        assert_eq!(skep.public.get("/e").await.text(), "hello\n");
    }
    relay.mend();
    eventually("Docker to be found again", async || {
        (skep.control.get("/readyz").await.status == StatusCode::OK).then_some(())
    })
    .await;
    skep.finish().await;
}
