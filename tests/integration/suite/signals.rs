//! Ending: drained by a first signal, at once by a second; and nothing is left after a crash.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use rustix::process::Signal;
use skep_tests::{DEBIAN, Docker, Skep, empty, eventually, probe_image};

#[tokio::test]
async fn the_first_signal_lets_what_runs_end() {
    let mut skep = Skep::start("sig-drain").await;
    skep.deploy("p", &[], &[], &[&probe_image(), "http"]).await;
    let public = skep.public;
    let running = tokio::spawn(async move { public.get("/p/slow/3000").await });
    skep.serving(1).await;
    skep.signal(Signal::TERM);
    let answer = running.await.unwrap();
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "slow\n"));
    let status = skep.ended().await;
    assert!(status.success(), "{status}");
    assert_eq!(skep.left(), [] as [&str; 0], "something is left behind");
}

#[tokio::test]
async fn the_second_signal_ends_everything_at_once_and_leaves_nothing() {
    let mut skep = Skep::start("sig-twice").await;
    skep.deploy("p", &[], &[], &[DEBIAN, "sleep", "600"]).await;
    skep.deploy(
        "e",
        &["handler=exec", "timeout=10m"],
        &[],
        &[DEBIAN, "sleep", "600"],
    )
    .await;
    let public = skep.public;
    let running = tokio::spawn(async move {
        let request = http::Request::get("/e").body(skep_tests::empty()).unwrap();
        let _ = public.try_send(request).await;
    });
    eventually("the instance", async || {
        (skep.docker.instances() == 1).then_some(())
    })
    .await;
    skep.signal(Signal::TERM);
    eventually("the drain to begin", async || {
        skep.said().contains("SIGTERM").then_some(())
    })
    .await;
    let begin = Instant::now();
    skep.signal(Signal::TERM);
    let status = skep.ended().await;
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "took {:?}",
        begin.elapsed()
    );
    assert!(!status.success(), "work was cut short, and the exit code says so");
    running.await.unwrap();
    assert_eq!(skep.left(), [] as [&str; 0], "something is left behind");
}

#[tokio::test]
async fn what_a_killed_skep_left_is_removed_by_the_next() {
    let mut skep = Skep::start("sig-kill").await;
    let labels = ["recycle=idle", "engine=docker"];
    skep.deploy("p", &labels, &[], &[&probe_image(), "http"]).await;
    skep.public.get("/p").await;
    let left = skep.made();
    assert_eq!(left.len(), 1);
    skep.kill();
    assert_eq!(skep.made(), left);
    skep.restart().await;
    eventually("the orphan's end", async || {
        skep.made().iter().all(|made| !left.contains(made)).then_some(())
    })
    .await;
    assert_eq!(
        skep.public.get("/p/count").await.text().trim(),
        "1",
        "a fresh instance"
    );
    skep.finish().await;
}

#[tokio::test]
async fn a_second_skep_on_the_same_namespace_is_refused_with_a_reason() {
    let skep = Skep::start("sig-two").await;
    for data in ["same", "other"] {
        let other = tempfile::tempdir().unwrap();
        let directory = if data == "same" {
            skep.data().to_owned()
        } else {
            other.path().to_owned()
        };
        let mut command = std::process::Command::new(skep_tests::binary());
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--control",
            "127.0.0.1:0",
            "--call-port",
            "0",
        ]);
        command
            .args(["--namespace", skep.docker.namespace(), "--data-dir"])
            .arg(&directory);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{data}: {said}");
        assert!(
            said.contains(skep.docker.namespace()) || said.contains("another"),
            "{data}: {said}"
        );
    }
    skep.finish().await;
}

/// The anonymous volumes of everything that Skep made.
fn volumes(docker: &Docker) -> BTreeSet<String> {
    let made = docker.containers("skep.owner");
    let format = "{{range .Mounts}}{{if eq .Type \"volume\"}}{{.Name}} {{end}}{{end}}";
    let mut arguments = vec!["inspect", "-f", format];
    arguments.extend(made.iter().map(String::as_str));
    let listed = docker.try_run(&arguments).unwrap_or_default();
    listed.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn anonymous_volumes_go_with_their_instances_also_after_a_kill() {
    let mut skep = Skep::start("sig-volumes").await;
    for engine in ["docker", "lean"] {
        let label = format!("engine={engine}");
        let command = [DEBIAN, "sh", "-c", "touch /one/file; sleep 100"];
        skep.deploy(engine, &["handler=exec", &label], &["-v", "/one"], &command)
            .await;
    }
    let public = skep.public;
    let running = ["/docker", "/lean"].map(|path| {
        let request = Request::get(path).body(empty()).unwrap();
        tokio::spawn(async move { public.try_send(request).await.is_ok() })
    });
    // Lean gives fresh folders of its own instead, which go with the instance's file system.
    let made = eventually("both to run", async || {
        let found = volumes(&skep.docker);
        (!found.is_empty() && skep.docker.instances() == 2).then_some(found)
    })
    .await;
    skep.kill();
    for task in running {
        assert!(!task.await.unwrap(), "its answer went with Skep");
    }
    skep.restart().await;
    eventually("the volumes to be gone", async || {
        let all = skep.docker.run(&["volume", "ls", "-q"]);
        (!all.lines().any(|name| made.contains(name))).then_some(())
    })
    .await;
    skep.finish().await;
}
