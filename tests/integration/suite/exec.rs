//! The `exec` handler: a command for each invocation, standard input to standard output.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use skep_tests::{DEBIAN, Skep, full, probe_image};

#[tokio::test]
async fn the_body_is_standard_input_and_standard_output_is_the_answer() {
    let skep = Skep::start("exec-cat").await;
    skep.deploy("cat", &["handler=exec"], &[], &[&probe_image(), "cat"])
        .await;
    let answer = skep.public.post("/cat", "some text").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "some text"));
    assert_eq!(answer.header("skep-invocation").len(), 36);
    for phase in ["queue;dur=", "start;dur=", "handler;dur="] {
        assert!(answer.header("server-timing").contains(phase), "{answer:?}");
    }
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn another_exit_code_is_a_500_that_tells_the_public_nothing_of_the_inside() {
    let skep = Skep::start("exec-exit").await;
    let script = "echo secret >&2; exit 3";
    skep.deploy("fail", &["handler=exec"], &[], &[DEBIAN, "sh", "-c", script])
        .await;
    let answer = skep.public.get("/fail").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.problem(), "exit-code");
    assert!(!answer.text().contains("secret"), "{answer:?}");
    let record = skep.record_of(&answer).await;
    assert_eq!(record["ending"]["exit_code"], 3);
    assert_eq!(record["status"], "failed");
    skep.finish().await;
}

#[tokio::test]
async fn an_answer_that_began_is_cut_when_the_command_fails_and_the_record_has_the_code() {
    let skep = Skep::start("exec-cut").await;
    let script = "head -c 200000 /dev/zero; sleep 0.5; exit 5";
    skep.deploy("cut", &["handler=exec"], &[], &[DEBIAN, "sh", "-c", script])
        .await;
    let response = skep
        .public
        .open(Request::get("/cut").body(full("")).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let id = response.headers()["skep-invocation"].to_str().unwrap().to_owned();
    assert!(response.into_body().collect().await.is_err(), "no last chunk");
    assert_eq!(skep.record(&id).await["ending"]["exit_code"], 5);
    skep.finish().await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_a_502_and_the_operator_reads_why() {
    let skep = Skep::start("exec-missing").await;
    let entrypoint = ["--entrypoint", "/no/such"];
    skep.deploy("missing", &["handler=exec"], &entrypoint, &[&probe_image()])
        .await;
    let answer = skep.public.get("/missing").await;
    assert_eq!(answer.problem(), "start-failed");
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(!answer.text().contains("/no/such"), "{answer:?}");
    let record = skep.record_of(&answer).await;
    assert!(
        record["ending"]["detail"].as_str().unwrap().contains("/no/such"),
        "{record}"
    );
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn output_is_streamed_as_it_is_written() {
    let skep = Skep::start("exec-stream").await;
    let script = "echo one; read line; echo got $line";
    skep.deploy("talk", &["handler=exec"], &[], &[DEBIAN, "sh", "-c", script])
        .await;
    let (mut sender, body) =
        http_body_util::channel::Channel::<bytes::Bytes, std::convert::Infallible>::new(1);
    let response = skep
        .public
        .open(Request::post("/talk").body(body.boxed()).unwrap())
        .await;
    let mut answer = response.into_body();
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one\n", "the first line came before the body was sent");
    sender.send_data("two\n".into()).await.unwrap();
    drop(sender);
    let rest = answer.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "got two\n");
    skep.finish().await;
}

#[tokio::test]
async fn a_fresh_container_serves_each_invocation() {
    let skep = Skep::start("exec-fresh").await;
    let script = "cat /mark 2>/dev/null; echo used > /mark; hostname";
    skep.deploy("fresh", &["handler=exec"], &[], &[DEBIAN, "sh", "-c", script])
        .await;
    let first = skep.public.get("/fresh").await;
    let second = skep.public.get("/fresh").await;
    assert_eq!(first.text().lines().count(), 1, "{first:?}");
    assert_eq!(
        second.text().lines().count(),
        1,
        "nothing of the first is left: {second:?}"
    );
    assert_ne!(first.text(), second.text(), "each has a host name of its own");
    skep.finish().await;
}

#[tokio::test]
async fn floods_of_output_cost_no_memory_and_end_well() {
    let skep = Skep::start("exec-flood").await;
    let probe = probe_image();
    skep.deploy(
        "out",
        &["handler=exec"],
        &[],
        &[&probe, "flood-stdout", "200000000"],
    )
    .await;
    skep.deploy(
        "err",
        &["handler=exec"],
        &[],
        &[&probe, "flood-stderr", "50000000"],
    )
    .await;
    let out = skep.public.get("/out").await;
    assert_eq!(out.body.len(), 200_000_000);
    let err = skep.public.get("/err").await;
    assert_eq!(err.status, StatusCode::OK);
    let status = std::fs::read_to_string(format!("/proc/{}/status", skep.pid().as_raw_nonzero())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim();
    let kilobytes: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 150_000, "peak of {peak}");
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_and_a_swarm_of_children_are_ended_all_the_same() {
    let skep = Skep::start("exec-stubborn").await;
    let probe = probe_image();
    skep.deploy(
        "deaf",
        &["handler=exec", "timeout=1s"],
        &[],
        &[&probe, "ignore-term"],
    )
    .await;
    skep.deploy("swarm", &["handler=exec"], &[], &[&probe, "swarm", "30"])
        .await;
    let deaf = skep.public.get("/deaf").await;
    assert_eq!(deaf.problem(), "timeout");
    assert_eq!(deaf.status, StatusCode::GATEWAY_TIMEOUT);
    let swarm = skep.public.get("/swarm").await;
    assert_eq!(swarm.text(), "30 children\n");
    skep.nothing_made().await;
    skep.finish().await;
}
