//! What a caller may not exceed: sizes, and patience.

use std::time::Duration;

use http::Request;
use http_body_util::StreamBody;
use skep_gateway::Config;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{body, field, full, get, http1, http2, raw, rest, text, until};
use crate::servers::mirror;
use crate::world::{Planned, World};

async fn limited(change: impl Fn(&mut Config)) -> World {
    let mut config = Config::default();
    change(&mut config);
    World::with(config, vec![Planned("m", &[], mirror())]).await
}

#[tokio::test]
async fn an_announced_body_that_is_too_large_is_refused_at_once() {
    let world = limited(|config| config.max_body = 10).await;
    let response = raw(
        world.address,
        "POST /m HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n",
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 413 ") && response.contains("\"body-too-large\""),
        "{response}"
    );
    assert_eq!(world.engine.launched(), 0);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused_while_it_comes() {
    let world = limited(|config| config.max_body = 100_000).await;
    let chunk = bytes::Bytes::from(vec![b'x'; 60_000]);
    let frames = futures::stream::iter((0..2).map(move |_| Ok(http_body::Frame::data(chunk.clone()))));
    let request = Request::post("/m")
        .header("host", "a")
        .body(StreamBody::new(frames))
        .unwrap();
    let response = http1(world.address, request).await;
    assert_eq!(response.status(), 413);
    assert!(text(response).await.contains("\"body-too-large\""));
    world.engine.until_left(0).await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let world = limited(|config| config.body_timeout = Duration::from_millis(100)).await;
    let response = raw(
        world.address,
        "POST /m HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc",
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 408 ") && response.contains("\"request-timeout\""),
        "{response}"
    );
    world.engine.until_left(0).await;
}

#[tokio::test]
async fn a_slow_body_may_take_longer_than_the_functions_time() {
    let labels: &[_] = &[("skep.timeout", "300ms")];
    let world = World::of(vec![Planned("m", labels, mirror())]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"POST /m HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    for byte in b"bytewise" {
        tokio::time::sleep(Duration::from_millis(60)).await;
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert!(rest(&mut stream).await.ends_with("\n\nbytewise"));
}

#[tokio::test]
async fn a_header_that_does_not_come_is_given_up() {
    let world = limited(|config| config.header_timeout = Duration::from_millis(100)).await;
    for begun in ["P", "PRI * HTTP/2.0\r\n", "GET /m HTTP/1.1\r\nhost: a\r\n"] {
        let response = raw(world.address, begun).await;
        assert!(response.starts_with("HTTP/1.1 408 "), "{begun:?} gave {response}");
        assert!(response.contains("\"code\":\"request-timeout\""), "{response}");
    }
    // Who said nothing is told nothing.
    for silence in ["", "\r\n"] {
        assert_eq!(raw(world.address, silence).await, "");
    }
    // An idle connection is closed as well, and so is one whose second request stops.
    for (more, answers) in [("", 1), ("GET /m HT", 2)] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream
            .write_all(b"GET /m HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let first = until(&mut stream, "GET /").await;
        stream.write_all(more.as_bytes()).await.unwrap();
        let all = first + &rest(&mut stream).await;
        assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), answers, "{all}");
    }
}

#[tokio::test]
async fn the_time_for_a_header_begins_anew_with_every_request_and_does_not_run_meanwhile() {
    let slow = crate::servers::web(|_| async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        crate::servers::answer("late")
    });
    let config = Config {
        header_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let world = World::with(config, vec![Planned("m", &[], slow)]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /m HTTP/1.1\r\nhost: a\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        stream.write_all(b"\r\n").await.unwrap();
        until(&mut stream, "late").await;
    }
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused() {
    let world = limited(|config| config.max_header = 16 * 1024).await;
    let large = "x".repeat(20 * 1024);
    let response = raw(
        world.address,
        &format!("GET /m HTTP/1.1\r\nhost: a\r\nx-large: {large}\r\n\r\n"),
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    assert!(response.contains("\"code\":\"header-too-large\""), "{response}");
    let endless = get(world.address, &format!("/m/{}", "x".repeat(20 * 1024))).await;
    assert!(endless.starts_with("HTTP/1.1 414 "), "{endless}");
    assert!(endless.contains("\"code\":\"uri-too-long\""), "{endless}");
    let many = "x-many: 1\r\n".repeat(500);
    let response = raw(
        world.address,
        &format!("GET /m HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    let long = "x".repeat(8 * 1024);
    assert!(
        get(world.address, &format!("/m/{long}"))
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told_so() {
    let world = limited(|config| config.max_connections = 1).await;
    let mut first = TcpStream::connect(world.address).await.unwrap();
    first
        .write_all(b"GET /m HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    until(&mut first, "GET /\n").await;
    let mut second = TcpStream::connect(world.address).await.unwrap();
    let response = rest(&mut second).await;
    assert!(
        response.starts_with("HTTP/1.1 503 ") && body(&response).contains("\"node-full\""),
        "{response}"
    );
    assert_eq!(field(&response, "retry-after"), Some("1"));
}

#[tokio::test]
async fn a_full_queue_is_an_early_answer() {
    let silent = crate::servers::by_hand(std::sync::Arc::default(), |stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let labels: &[_] = &[("skep.max", "1"), ("skep.queue", "1"), ("skep.timeout", "500ms")];
    let world = World::of(vec![Planned("busy", labels, silent)]).await;
    let all = futures::future::join_all((0..6).map(|_| get(world.address, "/busy"))).await;
    let full = all
        .iter()
        .filter(|response| response.starts_with("HTTP/1.1 429 "))
        .collect::<Vec<_>>();
    assert_eq!(full.len(), 4, "{all:?}");
    assert!(
        full.iter()
            .all(|response| field(response, "retry-after").is_some())
    );
    assert_eq!(
        all.iter()
            .filter(|response| response.starts_with("HTTP/1.1 504 "))
            .count(),
        2,
        "{all:?}"
    );
}

#[tokio::test]
async fn http2_is_spoken_and_a_head_has_no_body() {
    let world = limited(|_| {}).await;
    let request = Request::get(format!("http://{}/m/x", world.address))
        .body(full(""))
        .unwrap();
    let response = http2(world.address, request).await;
    assert!(response.headers().contains_key("server-timing"));
    let shown = text(response).await;
    assert!(
        shown.contains("GET /x") && shown.contains(&format!("host: {}", world.address)),
        "{shown}"
    );
    let request = Request::head(format!("http://{}/nothing", world.address))
        .body(full(""))
        .unwrap();
    let response = http2(world.address, request).await;
    assert_eq!(response.status(), 404);
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_body_reaches_a_caller_who_goes_on_sending() {
    let world = limited(|config| config.max_body = 10).await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream
            .write_all(b"POST /m HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n")
            .await
            .unwrap();
        // A caller such as most are: it reads when everything is sent.
        stream
            .write_all(&vec![b'x'; 4_000_000])
            .await
            .expect("the body is taken");
        let response = rest(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    }
}

#[tokio::test]
async fn callers_who_come_before_it_is_known_what_is_deployed_wait_for_it() {
    let world = limited(|_| {}).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (known, wait) = tokio::sync::oneshot::channel::<()>();
    let _serving = world.gateway.serve_after(listener, async { wait.await.unwrap() });
    let mut early = TcpStream::connect(address).await.unwrap();
    early
        .write_all(b"GET /m HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(100), rest(&mut early)).await;
    assert!(answer.is_err(), "{answer:?}");
    known.send(()).unwrap();
    assert!(rest(&mut early).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn chunks_that_are_mostly_wrapping_are_refused() {
    let world = limited(|_| {}).await;
    let extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(100_000));
    let trickle = "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n".repeat(2000) + "0\r\n\r\n";
    let trailers = format!("3\r\nabc\r\n0\r\n{}\r\n", "x: y\r\n".repeat(20_000));
    for chunks in [extension, trickle, trailers] {
        let request = format!("POST /m HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        let response = raw(world.address, &request).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(response.contains("\"code\":\"bad-request\""), "{response}");
    }
    let request = "POST /m HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
        3;name=\"value\"\r\nabc\r\n0\r\n\r\n";
    assert!(raw(world.address, request).await.ends_with("\n\nabc"));
}
