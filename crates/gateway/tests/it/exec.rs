//! `exec` behind the public listener.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt as _;
use skep_model::EndingKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::client::{body, field, full, get, http1, http2, invocation, raw, rest, text, until};
use crate::engine::{Behaviour, program};
use crate::world::{Planned, World};

const EXEC: &[(&str, &str)] = &[("skep.handler", "exec")];

fn exec(name: &'static str, behaviour: Behaviour) -> Planned {
    Planned(name, EXEC, behaviour)
}

/// Copies standard input to standard output.
fn cat() -> Behaviour {
    program(|mut command| async move {
        tokio::io::copy(&mut command.stdin, &mut command.stdout)
            .await
            .unwrap();
        0
    })
}

/// Prints a text and exits.
fn print(text: &'static str, code: i64) -> Behaviour {
    program(move |mut command| async move {
        command.stdout.write_all(text.as_bytes()).await.unwrap();
        code
    })
}

#[tokio::test]
async fn the_body_goes_in_and_the_output_comes_out_with_its_length() {
    let world = World::of(vec![exec("echo", cat())]).await;
    let request = Request::post("/echo")
        .header("host", "a")
        .body(full("one two"))
        .unwrap();
    let response = http1(world.address, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "7");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let timing = response.headers()["server-timing"].to_str().unwrap().to_owned();
    assert!(
        timing.contains("start;dur=3.000") && timing.contains("handler;dur="),
        "{timing}"
    );
    let id = response.headers()["skep-invocation"].to_str().unwrap().to_owned();
    assert_eq!(text(response).await, "one two");
    let record = world.record(&id).await;
    assert_eq!(
        (record.method.as_str(), record.path.as_str(), record.attempts),
        ("POST", "/", 1)
    );
    let ending = record.ending.unwrap();
    assert_eq!(
        (ending.kind, ending.exit_code, ending.http_status),
        (EndingKind::Completed, Some(0), Some(200))
    );
    world.engine.until_left(0).await;
}

#[tokio::test]
async fn the_invocation_is_in_the_environment() {
    let show = program(|mut command| async move {
        let line = format!(
            "{} {}",
            command.environment["SKEP_INVOCATION"], command.environment["TRACEPARENT"]
        );
        command.stdout.write_all(line.as_bytes()).await.unwrap();
        0
    });
    let world = World::of(vec![exec("show", show)]).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let response = raw(
        world.address,
        &format!("GET /show HTTP/1.1\r\nhost: a\r\ntraceparent: {trace}\r\nconnection: close\r\n\r\n"),
    )
    .await;
    let id = invocation(&response);
    assert!(
        body(&response).starts_with(&format!("{id} 00-4bf92f3577b34da6a3ce929d0e0e4736-")),
        "{response}"
    );
}

#[tokio::test]
async fn a_failure_before_the_head_is_an_answer_and_is_recorded() {
    let world = World::of(vec![exec("fail", print("half", 3))]).await;
    let response = get(world.address, "/fail").await;
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert_eq!(field(&response, "content-type"), Some("application/problem+json"));
    assert!(body(&response).contains("\"code\":\"exit-code\"") && !body(&response).contains("half"));
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!((ending.kind, ending.exit_code), (EndingKind::ExitCode, Some(3)));
}

#[tokio::test]
async fn what_is_wrong_inside_is_for_the_record_only() {
    let world = World::of(vec![exec("gone", cat())]).await;
    world.engine.forget("gone");
    let response = get(world.address, "/gone").await;
    assert!(
        response.starts_with("HTTP/1.1 502 ") && response.contains("start-failed"),
        "{response}"
    );
    assert!(!response.contains("/secret/"));
    assert!(world.detail(invocation(&response)).await.contains("/secret/gone"));
}

/// Prints, waits to be told, and exits with a code.
fn halfway(go_on: Arc<Notify>, code: i64) -> Behaviour {
    program(move |mut command| {
        let go_on = go_on.clone();
        async move {
            command.stdout.write_all(b"first\n").await.unwrap();
            go_on.notified().await;
            command.stdout.write_all(b"second\n").await.unwrap();
            code
        }
    })
}

#[tokio::test]
async fn output_is_streamed_while_the_command_runs() {
    let go_on = Arc::new(Notify::new());
    let world = World::of(vec![exec("slow", halfway(go_on.clone(), 0))]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let head = until(&mut stream, "first\n").await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    go_on.notify_one();
    let tail = rest(&mut stream).await;
    assert!(
        tail.contains("second\n") && tail.ends_with("0\r\n\r\n"),
        "{tail:?}"
    );
}

#[tokio::test]
async fn a_failure_after_the_head_cuts_the_body() {
    let go_on = Arc::new(Notify::new());
    let world = World::of(vec![exec("slow", halfway(go_on.clone(), 9))]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let head = until(&mut stream, "first\n").await;
    go_on.notify_one();
    let tail = rest(&mut stream).await;
    assert!(!tail.contains("0\r\n\r\n"), "{tail:?}");
    let ending = world.record(invocation(&head)).await.ending.unwrap();
    assert_eq!(
        (ending.kind, ending.exit_code, ending.http_status),
        (EndingKind::ExitCode, Some(9), Some(200))
    );
}

#[tokio::test]
async fn over_http2_a_cut_body_is_a_reset_stream() {
    let go_on = Arc::new(Notify::new());
    let world = World::of(vec![exec("slow", halfway(go_on.clone(), 9))]).await;
    let request = Request::get(format!("http://{}/slow", world.address))
        .body(full(""))
        .unwrap();
    let mut response = http2(world.address, request).await;
    let first = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.data_ref().unwrap(), "first\n");
    go_on.notify_one();
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let world = World::of(vec![exec("deaf", print("done", 0))]).await;
    let request = Request::post("/deaf")
        .header("host", "a")
        .body(full(vec![b'x'; 200_000]))
        .unwrap();
    let response = http1(world.address, request).await;
    assert_eq!(
        (response.status().as_u16(), text(response).await.as_str()),
        (200, "done")
    );
}

#[tokio::test]
async fn a_large_body_passes_through_a_small_window() {
    let world = World::of(vec![exec("echo", cat())]).await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let request = Request::post("/echo")
        .header("host", "a")
        .body(full(sent.clone()))
        .unwrap();
    let response = http1(world.address, request).await;
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), sent);
}

#[tokio::test]
async fn head_runs_the_command_and_has_no_body() {
    let world = World::of(vec![exec("hello", print("hello", 0))]).await;
    let response = raw(
        world.address,
        "HEAD /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 200 ") && body(&response).is_empty(),
        "{response}"
    );
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!(ending.kind, EndingKind::Completed);
}

#[tokio::test]
async fn a_command_that_prints_nothing_has_an_empty_answer() {
    let world = World::of(vec![exec("quiet", print("", 0))]).await;
    let response = get(world.address, "/quiet").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!(field(&response, "content-length"), Some("0"));
    assert_eq!(field(&response, "content-type"), None);
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_a_timeout() {
    let labels: &[_] = &[("skep.handler", "exec"), ("skep.timeout", "100ms")];
    let hang = program(|_command| std::future::pending());
    let world = World::of(vec![Planned("hang", labels, hang)]).await;
    let response = get(world.address, "/hang").await;
    assert!(
        response.starts_with("HTTP/1.1 504 ") && response.contains("\"timeout\""),
        "{response}"
    );
    let detail = world.detail(invocation(&response)).await;
    assert!(detail.contains("skep.timeout"), "{detail}");
    world.engine.until_left(0).await;
}

#[tokio::test]
async fn a_caller_who_goes_away_ends_the_command() {
    let hang = program(|mut command| async move {
        command.stdout.write_all(b"begun").await.unwrap();
        let mut all = Vec::new();
        command.stdin.read_to_end(&mut all).await.unwrap();
        std::future::pending().await
    });
    let world = World::of(vec![exec("hang", hang)]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let head = until(&mut stream, "begun").await;
    drop(stream);
    world.engine.until_left(0).await;
    let ending = world.record(invocation(&head)).await.ending.unwrap();
    assert_eq!(ending.kind, EndingKind::ClientGone);
}
