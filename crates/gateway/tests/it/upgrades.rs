//! WebSocket and other upgrades.

use std::sync::Arc;

use skep_model::{EndingKind, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{field, invocation, raw, rest, until};
use crate::engine::Behaviour;
use crate::servers::{answer, by_hand, says, web};
use crate::world::{Planned, World};

pub(crate) const ASK: &str = "GET /socket/chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

/// Switches, greets in the same packet, and then says everything twice.
pub(crate) fn twice() -> Behaviour {
    by_hand(Arc::default(), |mut stream, head| async move {
        assert!(
            head.to_ascii_lowercase().contains("\r\nconnection: upgrade\r\n"),
            "{head}"
        );
        assert!(
            head.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="),
            "{head}"
        );
        let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello ";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte).await {
            if byte == *b"!" {
                return;
            }
            stream.write_all(&[byte[0], byte[0]]).await.unwrap();
        }
    })
}

#[tokio::test]
async fn bytes_pass_both_ways_until_the_instance_ends() {
    let world = World::of(vec![Planned("socket", &[("skep.recycle", "idle")], twice())]).await;
    for _ in 0..2 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(ASK.as_bytes()).await.unwrap();
        let head = until(&mut stream, "hello ").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(
            field(&head, "sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        stream.write_all(b"ab").await.unwrap();
        until(&mut stream, "aabb").await;
        stream.write_all(b"c!").await.unwrap();
        assert_eq!(rest(&mut stream).await, "cc");
        let record = world.record(invocation(&head)).await;
        let ending = record.ending.unwrap();
        assert_eq!(
            (record.status, ending.http_status),
            (Status::Succeeded, Some(101))
        );
    }
    assert_eq!(world.engine.launched(), 1);
}

#[tokio::test]
async fn the_instance_is_held_until_the_caller_ends() {
    let world = World::of(vec![Planned("socket", &[], twice())]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    let head = until(&mut stream, "hello ").await;
    stream.write_all(b"x").await.unwrap();
    until(&mut stream, "xx").await;
    drop(stream);
    world.engine.until_left(0).await;
    assert_eq!(
        world.record(invocation(&head)).await.ending.unwrap().kind,
        EndingKind::Completed
    );
}

#[tokio::test]
async fn a_silent_socket_ends_after_the_timeout() {
    let world = World::of(vec![Planned("socket", &[("skep.timeout", "200ms")], twice())]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    let head = until(&mut stream, "hello ").await;
    assert_eq!(rest(&mut stream).await, "");
    let ending = world.record(invocation(&head)).await.ending.unwrap();
    assert_eq!(ending.problem.map(|problem| problem.as_str()), Some("timeout"));
}

#[tokio::test]
async fn a_server_may_decline_the_upgrade() {
    let world = World::of(vec![Planned("socket", &[], web(|_| async { answer("plain") }))]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    let response = until(&mut stream, "plain").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_bad_response() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let world = World::of(vec![Planned("socket", &[], says(switch))]).await;
    let response = raw(
        world.address,
        "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}

#[tokio::test]
async fn a_caller_that_has_said_everything_still_gets_the_rest_of_the_answer() {
    // It answers only once it knows that nothing more is asked.
    let counting = by_hand(Arc::default(), |mut stream, _| async move {
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello ";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let said = format!("{} bytes, and goodbye", all.len());
        stream.write_all(said.as_bytes()).await.unwrap();
    });
    let world = World::of(vec![Planned("socket", &[], counting)]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    let head = until(&mut stream, "hello ").await;
    stream.write_all(b"some").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, "4 bytes, and goodbye");
    let ending = world.record(invocation(&head)).await.ending.unwrap();
    assert_eq!(ending.kind, EndingKind::Completed);
}

#[tokio::test]
async fn an_instance_that_has_said_everything_still_hears_its_caller() {
    let (heard, hearing) = tokio::sync::oneshot::channel();
    let heard = Arc::new(std::sync::Mutex::new(Some(heard)));
    let listening = by_hand(Arc::default(), move |mut stream, _| {
        let heard = heard.lock().unwrap().take().expect("it is asked once");
        async move {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nbye";
            stream.write_all(switch.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).await.unwrap();
            heard.send(all).unwrap();
        }
    });
    let world = World::of(vec![Planned("socket", &[], listening)]).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    let head = rest(&mut stream).await;
    assert!(head.ends_with("\r\n\r\nbye"), "{head}");
    stream.write_all(b"one more thing").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(hearing.await.unwrap(), "one more thing");
    let ending = world.record(invocation(&head)).await.ending.unwrap();
    assert_eq!(ending.kind, EndingKind::Completed);
}
