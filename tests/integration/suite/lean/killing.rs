//! Everything that Skep stands on is killed while it is at work: what was answered was answered well, nothing accepted
//! is lost, and nothing stays behind.

use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use rustix::process::{Signal, kill_process};
use skep_tests::{DEBIAN, Engine, Skep, cgroup_homes, cgroups, eventually, probe_image};

use super::crash::{load, mounts, spawner};

#[tokio::test]
async fn sandboxes_killed_under_load_are_replaced_and_leave_nothing() {
    let skep = Skep::start("killing-sandbox").await;
    skep.deploy("p", &["engine=lean"], &[], &[&probe_image(), "http"])
        .await;
    assert_eq!(skep.public.get("/p").await.status, StatusCode::OK);
    let stop = AtomicBool::new(false);
    let killing = async {
        for how in [&["kill"][..], &["rm", "-f"], &["kill"]] {
            let list = skep.control.get("/v1/sandboxes").await.json();
            let sandbox = list["sandboxes"][0]["id"].as_str().expect("there is one");
            skep.docker.run(&[how, &[sandbox]].concat());
            eventually("another sandbox, and an answer from it", async || {
                let list = skep.control.get("/v1/sandboxes").await.json();
                let stands = list["sandboxes"][0]["id"].as_str()? != sandbox;
                (stands && skep.public.get("/p").await.status == StatusCode::OK).then_some(())
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((good, bad), ()) = tokio::join!(load(skep.public, "/p", &stop), killing);
    assert!(good > bad, "{good} answers, {bad} failures");
    skep.nothing_made().await;
    let standing = skep.left();
    assert_eq!(standing.len(), 1, "one sandbox stands: {standing:?}");
    skep.finish().await;
}

#[tokio::test]
async fn a_killed_docker_costs_nothing_that_needs_no_network_and_loses_nothing_accepted() {
    let probe = probe_image();
    let mut engine = Engine::start(&[&probe]);
    let skep = Skep::with("killing-docker", &["--docker-host", &engine.host()]).await;
    let namespace = format!("skep.namespace={}", skep.docker.namespace());
    for (name, command) in [("hello", "echo"), ("later", "cat")] {
        let function = format!("skep.function={name}");
        let mut words = vec!["create", "--label", &namespace, "--label", &function];
        words.extend(["--label", "skep.handler=exec", "--label", "skep.engine=lean"]);
        words.extend(["--network", "none", &probe, command, "hello"]);
        let id = engine.run(&words);
        skep.in_force(name, &id).await;
        assert_eq!(skep.public.get(&format!("/{name}")).await.status, StatusCode::OK);
    }
    let stop = AtomicBool::new(false);
    let killing = async {
        let mut accepted = Vec::new();
        for round in 0..2 {
            engine.kill();
            for number in 0..20 {
                let body = format!("{round} {number}");
                accepted.push((skep.public.post_async("/later", body.clone()).await, body));
            }
            engine.start_again();
            eventually("Docker to be found again", async || {
                (skep.control.get("/readyz").await.status == StatusCode::OK).then_some(())
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
        accepted
    };
    let ((good, bad), accepted) = tokio::join!(load(skep.public, "/hello", &stop), killing);
    assert!(good > 0 && bad == 0, "{good} answers, {bad} failures");
    for (location, body) in accepted {
        assert_eq!(skep.outcome(&location).await["status"], "succeeded");
        assert_eq!(skep.public.get(&format!("{location}/result")).await.text(), body);
    }
    skep.nothing_made().await;
    let home = skep.docker.namespace().to_owned();
    skep.finish().await;
    assert!(cgroup_homes(&home).is_empty());
}

#[tokio::test]
async fn skep_and_its_spawner_killed_at_once_leave_nothing_once_another_starts() {
    let mut skep = Skep::start("killing-both").await;
    let probe = probe_image();
    let (labels, none) = (["handler=exec", "engine=lean"], ["--network", "none"]);
    skep.deploy("hello", &labels, &none, &[&probe, "echo", "hello"])
        .await;
    skep.deploy("kept", &["engine=lean", "recycle=idle"], &[], &[&probe, "http"])
        .await;
    // It will not die with its maker: prctl(PR_SET_PDEATHSIG, 0), and no signal that it could ignore ends it.
    let script = "$SIG{$_} = 'IGNORE' for keys %SIG; syscall 157, 1, 0; exec 'sleep', 1000";
    skep.deploy("stubborn", &labels, &none, &[DEBIAN, "perl", "-e", script])
        .await;
    let namespace = skep.docker.namespace().to_owned();
    assert_eq!(skep.public.get("/kept/count").await.text().trim(), "1");
    eventually("the instance to be frozen", async || {
        let list = skep.control.get("/v1/instances").await;
        list.text().contains("\"frozen\"").then_some(())
    })
    .await;
    let public = skep.public;
    let stubborn = tokio::spawn(async move {
        let request = http::Request::get("/stubborn").body(skep_tests::empty());
        public.try_send(request.expect("a request")).await.is_ok()
    });
    eventually("the stubborn one to sleep", async || {
        let list = skep.control.get("/v1/instances").await.json();
        let instances = list["instances"].as_array()?;
        let one = instances.iter().find(|one| one["function"] == "stubborn")?;
        let process = one["locator"].as_str()?.strip_prefix("pid ")?;
        let command = std::fs::read(format!("/proc/{process}/cmdline")).ok()?;
        command.starts_with(b"sleep").then_some(())
    })
    .await;
    let stop = AtomicBool::new(false);
    let killing = async {
        for _ in 0..20 {
            assert_eq!(public.get("/hello").await.status, StatusCode::OK);
        }
        let maker = spawner(&skep).expect("there is one");
        // So that neither sees the other go.
        for signal in [Signal::STOP, Signal::KILL] {
            kill_process(maker, signal).expect("it runs");
            if signal == Signal::STOP {
                skep.kill();
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((good, _), ()) = tokio::join!(load(public, "/hello", &stop), killing);
    assert!(good > 0 && !stubborn.await.expect("the caller ends"));
    assert!(!cgroups(&namespace).is_empty(), "there is something to clear up");
    skep.restart().await;
    skep.nothing_made().await;
    assert_eq!(skep.public.get("/kept/count").await.text().trim(), "1");
    assert_eq!(skep.public.get("/hello").await.text(), "hello\n");
    assert_eq!(mounts(&skep), 0, "no mount of an instance is the host's");
    skep.finish().await;
    assert!(cgroup_homes(&namespace).is_empty());
}
