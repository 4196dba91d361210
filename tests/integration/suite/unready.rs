//! `http` instances that don't do what they should.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use skep_tests::{Skep, empty, eventually, probe_image};

async fn asked(topic: &str, labels: &[&str], command: &[&str], path: &str) -> (Skep, skep_tests::Answer) {
    let skep = Skep::start(topic).await;
    let probe = probe_image();
    let command = [&[probe.as_str()], command].concat();
    skep.deploy("p", labels, &[], &command).await;
    let answer = skep.public.get(path).await;
    (skep, answer)
}

async fn done(skep: Skep) {
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn one_that_listens_late_is_waited_for() {
    let (skep, answer) = asked("unready-late", &[], &["http", "--delay", "1500"], "/p").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer.header("server-timing").contains("ready;dur="),
        "{answer:?}"
    );
    done(skep).await;
}

#[tokio::test]
async fn one_that_never_listens_is_given_up_in_time() {
    let (skep, answer) = asked("unready-never", &["timeout=2s"], &["sleep", "3600"], "/p").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::GATEWAY_TIMEOUT, "not-ready")
    );
    done(skep).await;
}

#[tokio::test]
async fn one_that_listens_on_another_port_is_told_soon_which_and_by_which_label() {
    let begun = Instant::now();
    let (skep, answer) = asked(
        "unready-port",
        &["timeout=20s"],
        &["http", "--port", "9123"],
        "/p",
    )
    .await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::BAD_GATEWAY, "listens-elsewhere")
    );
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let said = format!("{} {}", answer.text(), skep.record_of(&answer).await);
    assert!(said.contains("9123") && said.contains("skep.port"), "{said}");
    done(skep).await;
}

#[tokio::test]
async fn one_that_listens_for_ipv6_alone_is_told_soon() {
    let skep = Skep::start("unready-v6only").await;
    let probe = probe_image();
    // The probe listens on [::], which mostly is for IPv4 too.
    let flags = ["--sysctl", "net.ipv6.bindv6only=1"];
    skep.deploy("p", &["timeout=20s"], &flags, &[&probe, "http"])
        .await;
    let begun = Instant::now();
    let answer = skep.public.get("/p").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::BAD_GATEWAY, "listens-elsewhere")
    );
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let said = answer.text();
    assert!(said.contains("[::]:") && said.contains("IPv6 alone"), "{said}");
    done(skep).await;
}

#[tokio::test]
async fn one_that_exits_at_once_is_a_502() {
    let (skep, answer) = asked("unready-exit", &[], &["exit", "7"], "/p").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::BAD_GATEWAY, "instance-exited")
    );
    let record = skep.record_of(&answer).await;
    assert!(
        record["ending"]["detail"]
            .as_str()
            .unwrap()
            .contains("exit code 7"),
        "{record}"
    );
    assert_eq!(record["ending"]["exit_code"], 7, "{record}");
    done(skep).await;
}

#[tokio::test]
async fn one_that_starts_slowly_beside_others_that_listen_has_all_of_its_time() {
    let skep = Skep::start("unready-beside").await;
    let probe = probe_image();
    let command = [probe.as_str(), "http", "--delay", "4000"];
    // Much listens in the host's network, and none of it is the instance's.
    skep.deploy("host", &["engine=docker"], &["--network", "host"], &command)
        .await;
    let answer = skep.public.get("/host").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    // Two instances of one sandbox: the first listens while the second still starts.
    skep.deploy("lean", &["engine=lean"], &[], &command).await;
    let (first, second) = tokio::join!(skep.public.get("/lean/slow/6000"), async {
        eventually("the first to listen", async || {
            let list = skep.control.get("/v1/instances").await.json();
            let mut all = list["instances"].as_array()?.iter();
            all.any(|one| one["function"] == "lean" && one["state"] == "busy")
                .then_some(())
        })
        .await;
        skep.public.get("/lean").await
    });
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    done(skep).await;
}

#[tokio::test]
async fn one_that_dies_in_a_request_or_speaks_no_http_is_a_502() {
    let (skep, exited) = asked("unready-dies", &[], &["http"], "/p/exit/9").await;
    assert_eq!(
        (exited.status, exited.problem().as_str()),
        (StatusCode::BAD_GATEWAY, "instance-exited")
    );
    let garbage = skep.public.get("/p/garbage").await;
    assert_eq!(
        (garbage.status, garbage.problem().as_str()),
        (StatusCode::BAD_GATEWAY, "bad-response")
    );
    done(skep).await;
}

#[tokio::test]
async fn one_that_closes_in_the_middle_leaves_the_caller_with_a_cut_answer() {
    let (skep, _) = asked("unready-cut", &[], &["http"], "/p").await;
    let response = skep
        .public
        .open(Request::get("/p/cut").body(empty()).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let id = response.headers()["skep-invocation"].to_str().unwrap().to_owned();
    assert!(response.into_body().collect().await.is_err());
    let record = skep.record(&id).await;
    assert_eq!(record["status"], "failed", "{record}");
    done(skep).await;
}

#[tokio::test]
async fn a_path_that_says_ready_is_waited_for() {
    let (skep, answer) = asked(
        "unready-path",
        &["ready=/status/503", "timeout=2s"],
        &["http"],
        "/p",
    )
    .await;
    assert_eq!(answer.problem(), "not-ready");
    skep.deploy("q", &["ready=/status/204"], &[], &[&probe_image(), "http"])
        .await;
    assert_eq!(skep.public.get("/q").await.status, StatusCode::OK);
    done(skep).await;
}
