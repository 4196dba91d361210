//! `http` behind the public listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use skep_gateway::{Config, Workers};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{body, field, full, get, http1, http2, invocation, raw, rest, text, until};
use crate::engine::server;
use crate::servers::{answer, by_hand, mirror, read_head, says, web};
use crate::world::{Planned, World};

const IDLE: &[(&str, &str)] = &[("skep.recycle", "idle")];

#[tokio::test]
async fn the_function_learns_of_its_caller_and_of_its_prefix() {
    let world = World::of(vec![Planned("shop", &[], mirror())]).await;
    let request = "GET /shop/a%2Fb?c=%20d HTTP/1.1\r\nhost: shop.test:81\r\nx-forwarded-for: 6.6.6.6\r\n\
                   forwarded: for=6.6.6.6\r\nskep-invocation: forged\r\nx-secret: 1\r\n\
                   connection: close, x-secret\r\nte: trailers, gzip\r\n\r\n";
    let response = raw(world.address, request).await;
    let seen = body(&response);
    let id = invocation(&response);
    for line in [
        "GET /a%2Fb?c=%20d",
        "host: shop.test:81",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.test:81",
        "x-forwarded-port: 81",
        "x-forwarded-proto: http",
        "x-forwarded-prefix: /shop",
        "forwarded: for=127.0.0.1;host=\"shop.test:81\";proto=http",
        "te: trailers",
        &format!("skep-invocation: {id}"),
    ] {
        assert!(seen.lines().any(|own| own == line), "{line} is not in\n{seen}");
    }
    assert!(
        seen.contains(&format!("traceparent: 00-{}-", id.replace('-', ""))),
        "{seen}"
    );
    assert!(!seen.contains("x-secret") && !seen.contains("forged"), "{seen}");
}

#[tokio::test]
async fn a_prefix_that_is_not_stripped_stays() {
    let world = World::of(vec![Planned("shop", &[("skep.strip", "false")], mirror())]).await;
    let response = get(world.address, "/shop/x").await;
    assert!(body(&response).starts_with("GET /shop/x\n"), "{response}");
    assert!(!response.contains("x-forwarded-prefix"));
}

#[tokio::test]
async fn what_no_function_serves_is_not_found() {
    let world = World::of(vec![Planned("shop", &[], mirror())]).await;
    let response = get(world.address, "/shopping").await;
    assert!(
        response.starts_with("HTTP/1.1 404 ") && response.contains("\"not-found\""),
        "{response}"
    );
    assert!(field(&response, "skep-invocation").is_some());
    assert_eq!(world.engine.launched(), 0);
}

#[tokio::test]
async fn callers_on_different_threads_share_the_connection_to_an_instance() {
    // A server of one thread looks at a second connection only when the first has ended.
    let alone = server(|listener| async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while read_head(&mut stream).await.is_some() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    let world = World::of(vec![Planned("alone", IDLE, alone)]).await;
    // Each stays open, so that they are on both threads.
    let mut callers = Vec::new();
    for _ in 0..4 {
        callers.push(TcpStream::connect(world.address).await.unwrap());
    }
    for _ in 0..3 {
        for caller in &mut callers {
            let request = b"GET /alone HTTP/1.1\r\nhost: a\r\n\r\n";
            caller.write_all(request).await.unwrap();
            assert!(until(caller, "\r\n\r\nok").await.starts_with("HTTP/1.1 200"));
        }
    }
    assert_eq!(world.engine.launched(), 1);
}

#[tokio::test]
async fn without_threads_of_its_own_a_gateway_serves_where_it_accepts() {
    let mirror = vec![Planned("mirror", IDLE, mirror())];
    let world = World::on(Workers::default(), Config::default(), mirror).await;
    for _ in 0..2 {
        assert!(get(world.address, "/mirror/a").await.contains("GET /a\n"));
    }
}

#[tokio::test]
async fn a_reused_instance_is_asked_over_the_same_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = by_hand(connections.clone(), |mut stream, _| async move {
        loop {
            let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(reply.as_bytes()).await.is_err() || read_head(&mut stream).await.is_none() {
                return;
            }
        }
    });
    let world = World::of(vec![Planned("reused", IDLE, counted)]).await;
    for _ in 0..20 {
        assert_eq!(body(&get(world.address, "/reused").await), "ok");
    }
    assert_eq!(
        (connections.load(Ordering::SeqCst), world.engine.launched()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_fresh_instance_serves_one_request() {
    let world = World::of(vec![Planned("fresh", &[], mirror())]).await;
    for _ in 0..3 {
        assert!(get(world.address, "/fresh").await.starts_with("HTTP/1.1 200 "));
    }
    world.engine.until_left(0).await;
    assert_eq!(world.engine.launched(), 3);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_made_anew() {
    let connections = Arc::new(AtomicUsize::new(0));
    // It closes after every answer, without having said so.
    let closing = by_hand(connections.clone(), |mut stream, _| async move {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
    });
    let world = World::of(vec![Planned("closing", IDLE, closing)]).await;
    for _ in 0..20 {
        assert_eq!(body(&get(world.address, "/closing").await), "ok");
    }
    assert_eq!(
        (connections.load(Ordering::SeqCst), world.engine.launched()),
        (20, 1)
    );
}

#[tokio::test]
async fn what_can_not_be_repeated_is_not_sent_on_a_connection_of_which_the_server_may_have_had_enough() {
    // It closes a connection that lay idle in the moment in which it is used again, as one does that was frozen.
    let weary = by_hand(Arc::default(), |mut stream, _| async move {
        let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let mut body = [0; 3];
        if stream.read_exact(&mut body).await.is_ok() && stream.write_all(reply.as_bytes()).await.is_ok() {
            // What is unread makes it a reset.
            let _ = stream.read_u8().await;
        }
    });
    let world = World::of(vec![Planned("weary", IDLE, weary)]).await;
    for method in ["GET", "POST", "PUT", "GET"] {
        let request = format!(
            "{method} /weary HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc"
        );
        let response = raw(world.address, &request).await;
        assert_eq!(body(&response), "ok", "{method}");
        // It is a matter of the clock on the wall.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert_eq!(world.engine.launched(), 1);
}

#[tokio::test]
async fn a_response_is_streamed_as_it_is_written() {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let events = web(move |_| {
        let mut receiver = receiver.lock().unwrap().take().expect("it is asked once");
        async move {
            let frames = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
            let mut response =
                Response::new(StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync());
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("text/event-stream"));
            response
        }
    });
    let world = World::of(vec![Planned("events", &[], events)]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream
        .write_all(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        sender.send(Bytes::from_static(event.as_bytes())).await.unwrap();
        until(&mut stream, event).await;
    }
    drop(sender);
    until(&mut stream, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_large_upload_passes_through_while_it_is_read() {
    let count = web(|request| async move {
        let mut body = request.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        answer(length.to_string())
    });
    let world = World::of(vec![Planned("count", &[], count)]).await;
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    for use_http2 in [false, true] {
        let frames = futures::stream::iter((0..320).map({
            let chunk = chunk.clone();
            move |_| Ok::<_, std::io::Error>(Frame::data(chunk.clone()))
        }));
        let uri = format!("http://{}/count", world.address);
        let request = Request::post(uri).header("host", world.address.to_string());
        let request = request.body(StreamBody::new(frames)).unwrap();
        let response = if use_http2 {
            http2(world.address, request).await
        } else {
            http1(world.address, request).await
        };
        assert_eq!(text(response).await, (320 * 64 * 1024).to_string());
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    for protocol in ["http1", "h2c"] {
        let labels: &'static [(&str, &str)] = if protocol == "h2c" {
            &[("skep.protocol", "h2c"), ("skep.recycle", "idle")]
        } else {
            &[("skep.protocol", "http1"), ("skep.recycle", "idle")]
        };
        let echo = web(|request| async move {
            let collected = request.into_body().collect().await.unwrap();
            let sum = collected
                .trailers()
                .and_then(|trailers| trailers.get("x-sum"))
                .cloned();
            let trailers: HeaderMap = sum
                .map(|sum| ("x-back".parse().unwrap(), sum))
                .into_iter()
                .collect();
            let frames = [
                Ok(Frame::data(collected.to_bytes())),
                Ok(Frame::trailers(trailers)),
            ];
            let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync());
            response
                .headers_mut()
                .insert("trailer", HeaderValue::from_static("x-back"));
            response
        });
        let world = World::of(vec![Planned("sum", labels, echo)]).await;
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("42"))]);
        let frames: [Result<_, std::io::Error>; 2] = [
            Ok(Frame::data(Bytes::from_static(b"data"))),
            Ok(Frame::trailers(trailers)),
        ];
        let request = Request::post("/sum")
            .header("host", "a")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .body(StreamBody::new(futures::stream::iter(frames)))
            .unwrap();
        let response = http1(world.address, request).await;
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(
            collected.trailers().expect("trailers came back")["x-back"],
            "42",
            "{protocol}"
        );
        assert_eq!(collected.to_bytes(), "data");
        // A caller who does not want them is no reason to end the instance, nor are they.
        for _ in 0..2 {
            let response = raw(
                world.address,
                "POST /sum HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                 4\r\nmore\r\n0\r\nx-sum: 1\r\n\r\n",
            )
            .await;
            assert!(
                response.starts_with("HTTP/1.1 200 ") && response.contains("more"),
                "{response}"
            );
        }
        assert_eq!(world.engine.launched(), 1, "{protocol}");
    }
}

#[tokio::test]
async fn http2_is_spoken_to_the_instance_on_one_connection() {
    let shown = web(|request| async move { answer(format!("{:?} {}", request.version(), request.uri())) });
    let labels: &[_] = &[
        ("skep.protocol", "h2c"),
        ("skep.recycle", "idle"),
        ("skep.concurrency", "10"),
    ];
    let world = World::of(vec![Planned("two", labels, shown)]).await;
    let asked = (0..10).map(|_| async {
        let request = Request::get("http://shop.test/two/x").body(full("")).unwrap();
        text(http2(world.address, request).await).await
    });
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer, "HTTP/2.0 http://shop.test/x");
    }
}

#[tokio::test]
async fn responses_without_a_body_keep_their_framing() {
    let world = World::of(vec![
        Planned("empty", IDLE, says("HTTP/1.1 204 No Content\r\n\r\n")),
        Planned("same", IDLE, says("HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 5\r\n\r\n")),
        Planned("head", IDLE, says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")),
        Planned("early", IDLE, says("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    ])
    .await;
    let empty = get(world.address, "/empty").await;
    assert!(
        empty.starts_with("HTTP/1.1 204 ")
            && field(&empty, "content-length").is_none()
            && body(&empty).is_empty()
    );
    let same = get(world.address, "/same").await;
    assert!(same.starts_with("HTTP/1.1 304 ") && field(&same, "etag").is_some() && body(&same).is_empty());
    let head = raw(
        world.address,
        "HEAD /head HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        field(&head, "content-length") == Some("5") && body(&head).is_empty(),
        "{head}"
    );
    let early = get(world.address, "/early").await;
    assert!(early.ends_with("\r\n\r\nok"), "{early}");
}

#[tokio::test]
async fn an_expectation_is_met_by_the_gateway() {
    let world = World::of(vec![Planned("mirror", &[], mirror())]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = "POST /mirror HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"body").await.unwrap();
    let response = rest(&mut stream).await;
    assert!(
        response.ends_with("\n\nbody") && !response.contains("expect:"),
        "{response}"
    );
}
