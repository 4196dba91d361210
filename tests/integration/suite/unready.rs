//! `http` instances that don't do what they should.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use skep_tests::{Skep, empty, probe_image};

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
async fn one_that_listens_on_another_port_is_told_which_and_by_which_label() {
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
    let said = format!("{} {}", answer.text(), skep.record_of(&answer).await);
    assert!(said.contains("9123") && said.contains("skep.port"), "{said}");
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
