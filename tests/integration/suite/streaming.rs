//! The `http` handler: bodies flow both ways as they come.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use skep_tests::{Skep, empty, full, probe_image};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn probe(topic: &str, labels: &[&str]) -> Skep {
    let skep = Skep::start(topic).await;
    skep.deploy("p", labels, &[], &[&probe_image(), "http"]).await;
    skep
}

/// The peak of a process's resident memory, in kilobytes.
fn peak(skep: &Skep) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", skep.pid().as_raw_nonzero())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim();
    line.trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn chunks_and_events_arrive_as_they_are_sent() {
    let skep = probe("http-chunks", &[]).await;
    for path in ["/p/chunks/20", "/p/sse/20"] {
        let response = skep.public.open(Request::get(path).body(empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        let first = Instant::now();
        let rest = body.collect().await.unwrap().to_bytes();
        assert!(rest.ends_with(b"19\n") || rest.ends_with(b"19\n\n"), "{rest:?}");
        // 19 pauses of 50 ms lie between the first and the last.
        assert!(
            first.elapsed() > Duration::from_millis(500),
            "came at once after {:?}",
            first.elapsed()
        );
    }
    skep.finish().await;
}

#[tokio::test]
async fn a_stream_may_last_longer_than_the_timeout_as_long_as_it_is_not_silent() {
    let skep = probe("http-long", &["timeout=1s"]).await;
    let answer = skep.public.get("/p/chunks/40").await;
    assert!(answer.text().ends_with("chunk 39\n"));
    let hung = skep.public.get("/p/hang").await;
    assert_eq!(
        (hung.status, hung.problem().as_str()),
        (StatusCode::GATEWAY_TIMEOUT, "timeout")
    );
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn a_large_upload_and_a_large_answer_cost_no_memory() {
    let skep = Skep::start("http-large").await;
    let probe = probe_image();
    skep.deploy("count", &["handler=exec"], &[], &[&probe, "wc"])
        .await;
    skep.deploy("p", &[], &[], &[&probe, "http"]).await;
    let (mut sender, body) = Channel::<Bytes, std::convert::Infallible>::new(1);
    let feeding = tokio::spawn(async move {
        let piece = Bytes::from(vec![7; 1 << 20]);
        for _ in 0..300 {
            sender.send_data(piece.clone()).await.unwrap();
        }
    });
    let answer = skep
        .public
        .send(Request::post("/count").body(body.boxed()).unwrap())
        .await;
    feeding.await.unwrap();
    assert_eq!(answer.text().trim(), (300 << 20).to_string());

    let mut body = skep
        .public
        .open(Request::get("/p/bytes/300000000").body(empty()).unwrap())
        .await
        .into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, 300_000_000);
    assert!(peak(&skep) < 120_000, "peak of {} kB", peak(&skep));
    skep.finish().await;
}

#[tokio::test]
async fn a_caller_that_takes_its_time_gets_everything_and_holds_nothing_up() {
    let skep = probe("http-slow", &["recycle=idle", "concurrency=4"]).await;
    let mut slow = TcpStream::connect(skep.public.address).await.unwrap();
    slow.write_all(b"GET /p/bytes/20000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 1000];
    slow.read_exact(&mut first).await.unwrap();
    // While it reads nothing more, others are served by the same instance.
    for _ in 0..5 {
        assert_eq!(skep.public.get("/p/pid").await.status, StatusCode::OK);
    }
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    let all = [&first[..], &rest].concat();
    let head = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(all.len() - head, 20_000_000);

    let mut typing = TcpStream::connect(skep.public.address).await.unwrap();
    for byte in b"POST /p/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello" {
        typing.write_all(&[*byte]).await.unwrap();
    }
    let mut answer = String::new();
    typing.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    skep.finish().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_invocation_and_its_instance() {
    let skep = probe("http-gone", &[]).await;
    let response = skep
        .public
        .open(Request::get("/p/sse/1000").body(empty()).unwrap())
        .await;
    let id = response.headers()["skep-invocation"].to_str().unwrap().to_owned();
    assert_eq!(skep.docker.instances(), 1);
    drop(response);
    let record = skep.record(&id).await;
    assert_eq!(record["ending"]["kind"], "client-gone", "{record}");
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn a_websocket_echoes_in_both_directions() {
    let skep = probe("http-ws", &[]).await;
    let mut stream = TcpStream::connect(skep.public.address).await.unwrap();
    let request = "GET /p/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    // RFC 6455, section 1.3, computes this for that key.
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    for text in ["one", "two"] {
        // A text frame, masked with zeros.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        stream.write_all(&frame).await.unwrap();
        let mut echo = vec![0; 2 + text.len()];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo[2..], text.as_bytes());
    }
    drop(stream);
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn trailers_and_an_expectation_and_head_pass() {
    let skep = probe("http-trailers", &["recycle=idle"]).await;
    let request = Request::get("/p/trailers")
        .header("te", "trailers")
        .body(empty())
        .unwrap();
    let answer = skep.public.send(request).await;
    assert_eq!(answer.text(), "hello");
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers["x-after"], "yes");

    let request = Request::post("/p/echo")
        .header("expect", "100-continue")
        .body(full("waited for"))
        .unwrap();
    assert_eq!(skep.public.send(request).await.text(), "waited for");

    let head = skep
        .public
        .send(Request::head("/p/bytes/5").body(empty()).unwrap())
        .await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    skep.finish().await;
}
