//! How long instances live and how many there are.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::StatusCode;
use skep_tests::{Skep, eventually, probe_image};

#[tokio::test]
async fn an_instance_serves_as_often_as_its_label_says() {
    let skep = Skep::start("inst-recycle").await;
    let probe = probe_image();
    skep.deploy("each", &[], &[], &[&probe, "http"]).await;
    skep.deploy("idle", &["recycle=idle", "idle=1s"], &[], &[&probe, "http"])
        .await;
    skep.deploy("three", &["recycle=3"], &[], &[&probe, "http"]).await;
    for (function, wanted) in [
        ("each", ["1", "1", "1", "1"]),
        ("idle", ["1", "2", "3", "4"]),
        ("three", ["1", "2", "3", "1"]),
    ] {
        for count in wanted {
            assert_eq!(
                skep.public.get(&format!("/{function}/count")).await.text().trim(),
                count,
                "{function}"
            );
        }
    }
    // `three` keeps its second instance for its default of a minute; the idle one ends after a second.
    eventually("the idle instance's end", async || {
        let instances = skep.control.get("/v1/instances").await.text().to_owned();
        (!instances.contains("\"idle\",\"revision\"") && skep.docker.instances() <= 1).then_some(())
    })
    .await;
    skep.finish().await;
}

#[tokio::test]
async fn a_frozen_instance_answers_again() {
    let skep = Skep::start("inst-frozen").await;
    for engine in ["engine=docker", "engine=lean"] {
        let template = skep
            .deploy("p", &["recycle=idle", engine], &[], &[&probe_image(), "http"])
            .await;
        assert_eq!(skep.public.get("/p/count").await.text().trim(), "1", "{engine}");
        eventually("the instance to be frozen", async || {
            let list = skep.control.get("/v1/instances").await.json();
            let mut instances = list["instances"].as_array()?.iter();
            instances
                .any(|instance| instance["state"] == "frozen")
                .then_some(())
        })
        .await;
        assert_eq!(skep.public.get("/p/count").await.text().trim(), "2", "{engine}");
        skep.docker.remove(&template);
        skep.nothing_made().await;
    }
    skep.finish().await;
}

#[tokio::test]
async fn spares_answer_at_once_and_each_serves_one_invocation() {
    let skep = Skep::start("inst-spares").await;
    skep.deploy(
        "p",
        &["spares=2"],
        &[],
        &[&probe_image(), "http", "--delay", "1000"],
    )
    .await;
    eventually("the spares", async || {
        let list = skep.control.get("/v1/instances").await.json();
        let spares = list["instances"]
            .as_array()?
            .iter()
            .filter(|i| i["state"] == "spare")
            .count();
        (spares == 2).then_some(())
    })
    .await;
    let begin = Instant::now();
    let answer = skep.public.get("/p/count").await;
    assert!(
        begin.elapsed() < Duration::from_millis(900),
        "no spare: {:?} {answer:?}",
        begin.elapsed()
    );
    assert_eq!(answer.text().trim(), "1");
    assert_eq!(skep.public.get("/p/count").await.text().trim(), "1");
    skep.finish().await;
}

#[tokio::test]
async fn concurrency_puts_several_requests_into_one_instance() {
    let skep = Skep::start("inst-concurrency").await;
    skep.deploy(
        "p",
        &["recycle=idle", "concurrency=4", "max=1"],
        &[],
        &[&probe_image(), "http"],
    )
    .await;
    skep.public.get("/p").await;
    let begin = Instant::now();
    let answers = join_all((0..4).map(|_| skep.public.get("/p/slow/1000"))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert!(
        begin.elapsed() < Duration::from_millis(2_900),
        "one after another: {:?}",
        begin.elapsed()
    );
    assert_eq!(skep.docker.instances(), 1);
    skep.finish().await;
}

#[tokio::test]
async fn instances_grow_on_demand_to_the_maximum_and_the_queue_is_bounded() {
    let skep = Skep::start("inst-max").await;
    skep.deploy("p", &["max=2", "queue=1"], &[], &[&probe_image(), "http"])
        .await;
    let answers = join_all((0..5).map(|_| skep.public.get("/p/slow/3000"))).await;
    let full: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS)
        .collect();
    assert_eq!(full.len(), 2, "two at once, one waits: {answers:?}");
    assert!(
        full.iter()
            .all(|answer| answer.problem() == "queue-full" && !answer.header("retry-after").is_empty())
    );
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.status == StatusCode::OK)
            .count(),
        3,
        "{answers:?}"
    );
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn the_memory_budget_holds_back_what_does_not_fit() {
    let skep = Skep::with("inst-memory", &["--memory-budget", "300m"]).await;
    let probe = probe_image();
    skep.deploy("p", &["timeout=20s"], &["-m", "128m"], &[&probe, "http"])
        .await;
    let watching = async {
        let mut most = 0;
        for _ in 0..20 {
            let listed = skep.control.get("/v1/instances").await.json();
            most = most.max(listed["instances"].as_array().expect("a list").len());
            // Nobody tells of the most that there are at once: it is looked all the time that they run.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        most
    };
    let (answers, most) = tokio::join!(join_all((0..4).map(|_| skep.public.get("/p/slow/500"))), watching);
    assert!(
        answers.iter().all(|answer| answer.status == StatusCode::OK),
        "{answers:?}"
    );
    assert_eq!(most, 2, "instances at once");
    skep.deploy("giant", &["timeout=2s"], &["-m", "400m"], &[&probe, "http"])
        .await;
    let answer = skep.public.get("/giant").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    skep.finish().await;
}

#[tokio::test]
async fn waiting_in_the_queue_is_bounded_by_the_timeout() {
    let skep = Skep::start("inst-wait").await;
    skep.deploy("p", &["max=1", "timeout=2s"], &[], &[&probe_image(), "http"])
        .await;
    let first = skep.public.get("/p/chunks/100");
    let second = async {
        skep.serving(1).await;
        skep.public.get("/p").await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(
        (second.status, second.problem().as_str()),
        (StatusCode::GATEWAY_TIMEOUT, "queue-timeout")
    );
    skep.finish().await;
}
