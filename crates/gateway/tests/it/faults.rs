//! Instances and callers of `http` that end early, say nonsense, or say nothing.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use skep_model::EndingKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{body, get, invocation, raw, until};
use crate::servers::{answer, by_hand, read_head, says, web};
use crate::world::{Planned, World};

const IDLE: &[(&str, &str)] = &[("skep.recycle", "idle")];

#[tokio::test]
async fn what_is_not_http_is_a_bad_response_with_the_reason_in_the_record() {
    let world = World::of(vec![Planned("noise", &[], says("SSH-2.0-x\r\n\r\n"))]).await;
    let response = get(world.address, "/noise").await;
    assert!(
        response.starts_with("HTTP/1.1 502 ") && response.contains("\"bad-response\""),
        "{response}"
    );
    let detail = world.detail(invocation(&response)).await;
    assert!(detail.contains("instance's answer"), "{detail}");
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_a_bad_response() {
    let world = World::of(vec![Planned("mute", &[], says(""))]).await;
    let response = get(world.address, "/mute").await;
    assert!(
        response.starts_with("HTTP/1.1 502 ") && response.contains("\"bad-response\""),
        "{response}"
    );
}

#[tokio::test]
async fn an_instance_that_exits_instead_of_answering_is_told_so() {
    let dying = crate::engine::server(|listener| async move {
        // The first connection may only have looked whether somebody listens.
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if read_head(&mut stream).await.is_some() {
                return;
            }
        }
    });
    let world = World::of(vec![Planned("dying", &[], dying)]).await;
    let response = get(world.address, "/dying").await;
    assert!(
        response.starts_with("HTTP/1.1 502 ") && response.contains("\"instance-exited\""),
        "{response}"
    );
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!(ending.exit_code, Some(1));
}

#[tokio::test]
async fn a_response_that_breaks_off_is_cut() {
    let cases = [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ];
    for case in cases {
        let world = World::of(vec![Planned("broken", &[], says(case))]).await;
        let response = raw(world.address, "GET /broken HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(
            response.starts_with("HTTP/1.1 200 ") && !response.ends_with("0\r\n\r\n"),
            "{response}"
        );
        let ending = world.record(invocation(&response)).await.ending.unwrap();
        assert_eq!(
            ending.problem.map(|problem| problem.as_str()),
            Some("bad-response")
        );
    }
}

#[tokio::test]
async fn a_server_error_of_the_functions_own_is_passed_on() {
    let world = World::of(vec![Planned(
        "own",
        &[],
        web(|_| async {
            let mut response = answer("mine");
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
                .headers_mut()
                .insert("server-timing", HeaderValue::from_static("db;dur=5"));
            response
                .headers_mut()
                .insert("skep-invocation", HeaderValue::from_static("forged"));
            response
        }),
    )])
    .await;
    let response = get(world.address, "/own").await;
    assert!(
        response.starts_with("HTTP/1.1 503 ") && body(&response) == "mine",
        "{response}"
    );
    assert!(
        response.contains("server-timing: db;dur=5") && response.contains("handler;dur="),
        "{response}"
    );
    assert!(!response.contains("forged"));
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!(
        (ending.kind, ending.http_status),
        (EndingKind::ServerError, Some(503))
    );
}

#[tokio::test]
async fn an_instance_that_is_silent_before_its_head_times_out() {
    let silent = by_hand(Arc::default(), |stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let world = World::of(vec![Planned("silent", &[("skep.timeout", "150ms")], silent)]).await;
    let response = get(world.address, "/silent").await;
    assert!(
        response.starts_with("HTTP/1.1 504 ") && response.contains("\"timeout\""),
        "{response}"
    );
    world.engine.until_left(0).await;
}

#[tokio::test]
async fn a_stream_may_last_longer_than_the_timeout_and_not_be_silent_for_it() {
    let ticking = by_hand(Arc::default(), |mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        for _ in 0..6 {
            stream.write_all(b"tick ").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    });
    let world = World::of(vec![Planned("ticking", &[("skep.timeout", "300ms")], ticking)]).await;
    let response = raw(world.address, "GET /ticking HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(response.matches("tick ").count(), 6, "{response}");
    assert!(!response.ends_with("0\r\n\r\n"));
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!(ending.problem.map(|problem| problem.as_str()), Some("timeout"));
}

#[tokio::test]
async fn an_answer_before_the_upload_ends_is_passed_on() {
    let hasty = by_hand(Arc::default(), |mut stream, _| async move {
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .await
            .unwrap();
        let mut rest = Vec::new();
        // Whether all of it comes is not the point.
        let _ = stream.read_to_end(&mut rest).await;
    });
    let world = World::of(vec![Planned("hasty", &[], hasty)]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"POST /hasty HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegin")
        .await
        .unwrap();
    let response = until(&mut stream, "\r\n\r\nno").await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
}

#[tokio::test]
async fn a_caller_who_goes_away_ends_the_instance() {
    let (begun, mut waiting) = mpsc::channel::<()>(1);
    let hang = by_hand(Arc::default(), move |mut stream, _| {
        let begun = begun.clone();
        async move {
            begun.send(()).await.unwrap();
            // Ends when the gateway closes its side.
            let _ = stream.read_u8().await;
        }
    });
    let world = World::of(vec![Planned("hang", IDLE, hang)]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    waiting.recv().await.unwrap();
    drop(stream);
    world.engine.until_left(0).await;
}
