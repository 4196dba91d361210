//! The real agent beside a real engine, on containers that stand as Swarm's tasks would, spoken to as a gateway does.

mod calls;
mod gateway;
mod socket;
mod strangers;
mod support;

use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use skep_model::{EndingKind, Trigger};
use skep_wire::{Field as _, NOT_STARTED, OUTCOME, Outcome};
use support::{Agent, eventually, request, whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const EXEC: (&str, &str) = ("skep.handler", "exec");

#[tokio::test]
async fn an_invocation_runs_in_the_tasks_own_network() {
    let agent = Agent::start("agent-network").await;
    let container = agent.sandbox(&[EXEC], 16, &["cat"], &[]).await;
    let answer = agent.invoke(&container, "/", "through and back").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "through and back"));
    let http = agent.sandbox(&[], 16, &["http"], &[]).await;
    let address = agent.docker.run(&[
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        &http,
    ]);
    let answer = agent.invoke(&http, "/echo", "to a server").await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (200, "to a server"),
        "at {address}"
    );
    let sandboxes = agent.ask("/v1/sandboxes").await;
    assert_eq!(sandboxes["sandboxes"].as_array().map(Vec::len), Some(2));
    // Nothing but the two tasks: no sandbox was made beside them.
    assert_eq!(agent.docker.containers("skep.is-sandbox"), Vec::<String>::new());
    let page = agent.ask("/v1/invocations").await;
    assert_eq!(page["invocations"].as_array().map(Vec::len), Some(2), "{page}");
}

#[tokio::test]
async fn every_gateway_is_shown_who_waits_at_another() {
    let agent = Agent::start("agent-waiting").await;
    assert_eq!(agent.tell("{}").await, 400);
    let waiting = r#"{"gateway":"one","namespace":"default","functions":{"hello":3}}"#;
    assert_eq!(agent.tell(waiting).await, 204);
    eventually("it is in the picture", async || {
        // A gateway says it again for as long as it is so.
        agent.tell(waiting).await;
        let picture = agent.picture().await;
        picture.waiting.first().map(|waiting| waiting.functions["hello"]) == Some(3)
    })
    .await;
    eventually("what is not said again is no longer shown", async || {
        agent.picture().await.waiting.is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_did_not_start_is_said_so() {
    let agent = Agent::start("agent-refusals").await;
    let unknown = agent.invoke("nowhere", "/", "").await;
    assert_eq!(unknown.status, 503);
    assert_eq!(unknown.headers[NOT_STARTED], "unknown");
    let container = agent
        .sandbox(&[EXEC, ("skep.max", "1")], 1, &["sleep", "30"], &[])
        .await;
    let line = agent.line.clone();
    let first = request(&container, "/", "", Trigger::Request);
    let first = tokio::spawn(async move { line.send(first).await });
    agent.until(&container, |sandbox| sandbox.running == 1).await;
    let full = agent.invoke(&container, "/", "").await;
    assert_eq!(full.headers[NOT_STARTED], "full");
    first.abort();
    // A caller who has gone has made room.
    agent.until(&container, |sandbox| sandbox.running == 0).await;
}

#[tokio::test]
async fn a_task_is_let_go_when_its_last_invocation_has_ended() {
    let agent = Agent::start("agent-drain").await;
    let container = agent.sandbox(&[], 16, &["http"], &[]).await;
    let running = agent.send(&container, "/sse/30", "", Trigger::Request).await;
    assert_eq!(running.status(), 200);
    agent.docker.run(&["kill", "--signal", "TERM", &container]);
    agent.until(&container, |sandbox| sandbox.draining).await;
    let refused = agent.invoke(&container, "/", "").await;
    assert_eq!(refused.headers[NOT_STARTED], "draining");
    let streamed = whole(running).await;
    assert!(streamed.text.contains("29"), "{}", streamed.text);
    eventually("the task ends", async || {
        agent
            .docker
            .run(&["inspect", "-f", "{{.State.Running}}", &container])
            == "false"
    })
    .await;
    eventually("it is forgotten", async || {
        agent.picture().await.sandboxes.is_empty()
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_was_killed_leaves_nothing_and_the_next_one_goes_on() {
    let mut agent = Agent::start("agent-killed").await;
    let container = agent.sandbox(&[EXEC], 16, &["sleep", "600"], &[]).await;
    let line = agent.line.clone();
    let held = request(&container, "/", "", Trigger::Request);
    let held = tokio::spawn(async move { line.send(held).await });
    eventually("it runs", async || agent.docker.instances() == 1).await;
    agent.kill();
    assert!(held.await.expect("it ends").is_err());
    agent.restart().await;
    agent.until(&container, |sandbox| sandbox.running == 0).await;
    eventually("nothing is left of the first", async || {
        agent.docker.instances() == 0
    })
    .await;
    let server = agent.sandbox(&[], 16, &["http"], &[]).await;
    assert_eq!(agent.invoke(&server, "/echo", "again").await.text, "again");
}

#[tokio::test]
async fn a_drain_of_the_agent_leaves_the_tasks_to_the_next_one() {
    let mut agent = Agent::start("agent-upgrade").await;
    let container = agent.sandbox(&[], 16, &["http"], &[]).await;
    let running = agent.send(&container, "/sse/20", "", Trigger::Request).await;
    agent.terminate();
    let streamed = whole(running).await;
    assert!(streamed.text.contains("19"), "{}", streamed.text);
    assert!(agent.ended().await.success());
    assert_eq!(agent.docker.instances(), 0);
    agent.restart().await;
    agent.until(&container, |sandbox| sandbox.slots == 16).await;
    assert_eq!(agent.invoke(&container, "/echo", "again").await.text, "again");
}

#[tokio::test]
async fn the_docker_engine_makes_instances_in_the_tasks_network() {
    let agent = Agent::start("agent-docker").await;
    let labels = [("skep.engine", "docker")];
    let container = agent.sandbox(&labels, 16, &["http"], &[]).await;
    assert_eq!(
        agent.invoke(&container, "/echo", "docker's").await.text,
        "docker's"
    );
    let exec = agent
        .sandbox(&[("skep.engine", "docker"), EXEC], 16, &["cat"], &[])
        .await;
    assert_eq!(agent.invoke(&exec, "/", "piped").await.text, "piped");
    eventually("instances go", async || agent.docker.instances() == 0).await;
}

#[tokio::test]
async fn how_an_asynchronous_invocation_ended_stands_behind_its_answer() {
    let agent = Agent::start("agent-outcome").await;
    let container = agent.sandbox(&[EXEC], 16, &["exit", "3"], &[]).await;
    let answer = agent.send(&container, "/", "", Trigger::Async).await;
    let answer = whole(answer).await;
    assert_eq!(answer.status, 500);
    let outcome = Outcome::read(&answer.trailers[OUTCOME]).expect("an outcome");
    assert_eq!(outcome.ending.kind, EndingKind::ExitCode);
    assert_eq!(outcome.ending.exit_code, Some(3));
    assert_eq!(outcome.revision.as_deref(), Some("0123456789ab"));
    // The record is the gateway's.
    let page = agent.ask("/v1/invocations").await;
    assert_eq!(page["invocations"].as_array().map(Vec::len), Some(0), "{page}");
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place() {
    let agent = Agent::start("agent-upgraded").await;
    let container = agent.sandbox(&[("skep.max", "1")], 1, &["http"], &[]).await;
    let connection = agent
        .dialer()
        .upgradable(agent.address)
        .await
        .expect("a connection");
    let mut request = request(&container, "/ws", "", Trigger::Request);
    *request.method_mut() = http::Method::GET;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, "upgrade".parse().unwrap());
    headers.insert(UPGRADE, "websocket".parse().unwrap());
    headers.insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
    headers.insert("sec-websocket-version", "13".parse().unwrap());
    let (mut answer, _driver) = connection.send(request).await.expect("an answer");
    assert_eq!(answer.status(), 101);
    let upgraded = hyper::upgrade::on(&mut answer).await.expect("a connection");
    let mut socket = TokioIo::new(upgraded);
    // A masked text frame of one byte (RFC 6455, section 5.2), and its echo.
    socket.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    let mut echo = [0; 3];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!(echo, [0x81, 1, b'x']);
    let full = agent.invoke(&container, "/", "").await;
    assert_eq!(full.headers[NOT_STARTED], "full");
    drop(socket);
    agent.until(&container, |sandbox| sandbox.running == 0).await;
}

#[tokio::test]
async fn a_spare_is_seen_before_anybody_asks() {
    let agent = Agent::start("agent-spare").await;
    let container = agent.sandbox(&[("skep.spares", "1")], 64, &["http"], &[]).await;
    agent.until(&container, |sandbox| sandbox.idle == 1).await;
    let begin = std::time::Instant::now();
    assert_eq!(agent.invoke(&container, "/echo", "quick").await.text, "quick");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_function_that_cannot_run_here_is_shown_with_the_reason() {
    let agent = Agent::start("agent-reasons").await;
    let labels = [EXEC, ("skep.engine", "lean")];
    let flags = ["--cap-add", "NET_ADMIN"];
    let container = agent.sandbox(&labels, 16, &["cat"], &flags).await;
    agent
        .until(&container, |sandbox| {
            sandbox.slots == 0 && !sandbox.reasons.is_empty()
        })
        .await;
    assert_eq!(
        agent.invoke(&container, "/", "").await.headers[NOT_STARTED],
        "full"
    );
}
