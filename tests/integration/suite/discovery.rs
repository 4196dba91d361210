//! Templates become functions, as `skep serve` shows it to the outside.

use std::time::{Duration, Instant};

use http::StatusCode;
use skep_tests::{DEBIAN, Skep, eventually, probe_image};

#[tokio::test]
async fn docker_create_deploys_and_docker_rm_undeploys_within_moments() {
    let skep = Skep::start("dsc-live").await;
    let probe = probe_image();
    assert_eq!(skep.public.get("/hello").await.status, StatusCode::NOT_FOUND);

    let id = skep.park("hello", &["handler=exec"], &[], &[&probe, "echo", "hello"]);
    let begin = Instant::now();
    eventually("the route", async || {
        let answer = skep.public.get("/hello").await;
        (answer.status == StatusCode::OK).then(|| assert_eq!(answer.text(), "hello\n"))
    })
    .await;
    // The instance takes most of it; DESIGN's 200 ms are tested where discovery is.
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "took {:?}",
        begin.elapsed()
    );

    skep.docker.remove(&id);
    let begin = Instant::now();
    eventually("the route's end", async || {
        (skep.public.get("/hello").await.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "took {:?}",
        begin.elapsed()
    );
    skep.finish().await;
}

#[tokio::test]
async fn an_invalid_template_is_listed_with_its_reasons_and_never_run() {
    let skep = Skep::start("dsc-invalid").await;
    let id = skep.park(
        "bad",
        &["handler=exec", "timeout=soon", "rout=/x"],
        &["-p", "80"],
        &[DEBIAN, "true"],
    );
    let function = eventually("the invalid function", async || {
        let list = skep.control.get("/v1/functions").await.json();
        list["functions"]
            .as_array()?
            .iter()
            .find(|function| function["template"] == id[..12])
            .cloned()
    })
    .await;
    assert_eq!(function["state"], "invalid");
    let reasons = function["reasons"].to_string();
    for part in ["skep.timeout=soon", "did you mean skep.route?", "publishes ports"] {
        assert!(reasons.contains(part), "{part:?} is not in {reasons}");
    }
    assert_eq!(skep.public.get("/bad").await.problem(), "not-found");
    assert_eq!(skep.left(), [] as [&str; 0]);
    skep.finish().await;
}

#[tokio::test]
async fn two_templates_of_one_name_never_fail_a_request_while_the_newer_takes_over() {
    let skep = Skep::start("dsc-redeploy").await;
    let probe = probe_image();
    let mut old = skep
        .deploy("page", &["recycle=idle"], &[], &[&probe, "http"])
        .await;
    let public = skep.public;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let load = tokio::spawn(async move {
        let mut count = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let answer = public.get("/page/env").await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            count += 1;
        }
        count
    });
    for version in ["1", "2", "3"] {
        let variable = format!("VERSION={version}");
        let new = skep
            .deploy("page", &["recycle=idle"], &["-e", &variable], &[&probe, "http"])
            .await;
        skep.docker.remove(&old);
        old = new;
        eventually("the new version", async || {
            skep.public
                .get("/page/env")
                .await
                .text()
                .contains(&variable)
                .then_some(())
        })
        .await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(load.await.expect("no request failed") > 3);
    skep.finish().await;
}

#[tokio::test]
async fn pruned_templates_are_served_on_and_stand_again() {
    let skep = Skep::start("dsc-prune").await;
    let probe = probe_image();
    let id = skep
        .deploy("kept", &["handler=exec"], &[], &[&probe, "echo", "kept"])
        .await;
    skep.docker.prune();
    let back = eventually("the template to stand again", async || {
        let found = skep.docker.containers("skep.function=kept");
        found.into_iter().find(|found| *found != id)
    })
    .await;
    skep.in_force("kept", &back).await;
    assert_eq!(skep.public.get("/kept").await.text(), "kept\n");
    skep.finish().await;
}

#[tokio::test]
async fn the_older_template_keeps_a_route_that_two_want() {
    let skep = Skep::start("dsc-route").await;
    let probe = probe_image();
    skep.deploy(
        "first",
        &["handler=exec", "route=/same"],
        &[],
        &[&probe, "echo", "first"],
    )
    .await;
    let second = skep.park(
        "second",
        &["handler=exec", "route=/same"],
        &[],
        &[&probe, "echo", "second"],
    );
    let reasons = eventually("the loser", async || {
        let list = skep.control.get("/v1/functions").await.json();
        let lost = list["functions"]
            .as_array()?
            .iter()
            .find(|f| f["template"] == second[..12])?
            .clone();
        Some(lost["reasons"].to_string())
    })
    .await;
    assert!(
        reasons.contains("first") && reasons.contains("/same"),
        "{reasons}"
    );
    assert_eq!(skep.public.get("/same").await.text(), "first\n");
    skep.finish().await;
}
