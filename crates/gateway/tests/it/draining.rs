//! What a first signal means to callers: what runs goes on, and who would ask more is sent to another connection.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use skep_gateway::{Config, Workers};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};

use crate::client::{PATIENCE, field, rest, until};
use crate::engine::Behaviour;
use crate::servers::{answer, web};
use crate::upgrades::{ASK, twice};
use crate::world::{Planned, World};

/// Begins a stream at once and ends it when told to.
fn stream(go_on: Arc<Notify>) -> Behaviour {
    web(move |_| {
        let go_on = go_on.clone();
        async move {
            let begin = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"begin ")))]);
            let end = futures::stream::once(async move {
                go_on.notified().await;
                Ok(Frame::data(Bytes::from_static(b"end")))
            });
            Response::new(StreamBody::new(begin.chain(end)).boxed_unsync())
        }
    })
}

#[tokio::test]
async fn a_drain_lets_a_request_end_and_closes_idle_connections() {
    let (begun, mut waiting) = mpsc::channel::<()>(1);
    let go_on = Arc::new(tokio::sync::Notify::new());
    let slow = web({
        let go_on = go_on.clone();
        move |_| {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            async move {
                begun.send(()).await.unwrap();
                go_on.notified().await;
                answer("done")
            }
        }
    });
    let world = World::of(vec![Planned("slow", &[], slow)]).await;
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    idle.write_all(b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    until(&mut idle, "}").await;
    let mut busy = TcpStream::connect(world.address).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    waiting.recv().await.unwrap();
    let drained = world.serving.drain();
    tokio::pin!(drained);
    tokio::select! {
        () = &mut drained => panic!("a request is under way"),
        rest = rest(&mut idle) => assert_eq!(rest, ""),
    }
    assert!(TcpStream::connect(world.address).await.is_err());
    go_on.notify_one();
    let (response, ()) = tokio::join!(rest(&mut busy), drained);
    assert!(response.ends_with("done"), "{response}");
    assert_eq!(field(&response, "connection"), Some("close"));
}

#[tokio::test]
async fn answers_that_end_as_a_drain_begins_are_the_last_of_their_connections() {
    let (begun, mut waiting) = mpsc::channel::<()>(1);
    let (go_on, may_go_on) = watch::channel(false);
    let slow = web(move |_| {
        let (begun, mut may_go_on) = (begun.clone(), may_go_on.clone());
        async move {
            begun.send(()).await.unwrap();
            may_go_on.wait_for(|go_on| *go_on).await.unwrap();
            answer("done")
        }
    });
    // Many on one thread, which learns of the drain and of the answers in any order.
    let world = World::on(
        Workers::start(1).unwrap(),
        Config::default(),
        vec![Planned("slow", &[], slow)],
    )
    .await;
    let mut callers = Vec::new();
    for _ in 0..32 {
        let mut caller = TcpStream::connect(world.address).await.unwrap();
        caller
            .write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        waiting.recv().await.unwrap();
        callers.push(caller);
    }
    let drained = world.serving.drain();
    tokio::pin!(drained);
    assert!(futures::poll!(&mut drained).is_pending());
    go_on.send_replace(true);
    let (responses, ()) = tokio::join!(join_all(callers.iter_mut().map(rest)), drained);
    for response in responses {
        assert!(response.ends_with("done"), "{response}");
        assert_eq!(field(&response, "connection"), Some("close"));
    }
}

#[tokio::test]
async fn a_stream_under_way_is_the_last_of_its_connection() {
    let go_on = Arc::new(Notify::new());
    let world = World::of(vec![Planned("s", &[], stream(go_on.clone()))]).await;
    let mut busy = TcpStream::connect(world.address).await.unwrap();
    busy.write_all(b"GET /s HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    // Its head is out, and could not say `connection: close` any more.
    until(&mut busy, "begin ").await;
    let drained = world.serving.drain();
    tokio::pin!(drained);
    assert!(futures::poll!(&mut drained).is_pending());
    busy.write_all(b"GET /s HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    go_on.notify_one();
    let (rest, ()) = tokio::join!(rest(&mut busy), drained);
    assert!(rest.contains("end") && !rest.contains("HTTP/1.1 "), "{rest}");
}

#[tokio::test]
async fn over_http2_callers_are_told_to_go_away_and_streams_go_on() {
    let go_on = Arc::new(Notify::new());
    let world = World::of(vec![Planned("s", &[], stream(go_on.clone()))]).await;
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = || {
        Request::get(format!("http://{}/s", world.address))
            .body(())
            .unwrap()
    };
    let (response, _) = client.send_request(request(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "begin ");
    let drained = world.serving.drain();
    tokio::pin!(drained);
    // The client knows as soon as the GOAWAY is there: it takes no further request for this connection.
    let told = async {
        while std::future::poll_fn(|cx| client.poll_ready(cx)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = &mut drained => panic!("a stream is under way"),
        told = tokio::time::timeout(PATIENCE, told) => told.expect("GOAWAY"),
    }
    assert!(client.send_request(request(), true).is_err());
    go_on.notify_one();
    let end = async { body.data().await.unwrap().unwrap() };
    let (end, ()) = tokio::join!(end, drained);
    assert_eq!(end, "end");
    drop(client);
    connection
        .await
        .unwrap()
        .expect("no error: the connection was closed in order");
}

#[tokio::test]
async fn an_upgraded_connection_goes_on_by_itself_and_is_waited_for() {
    let world = World::of(vec![Planned("socket", &[], twice())]).await;
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    socket.write_all(ASK.as_bytes()).await.unwrap();
    until(&mut socket, "hello ").await;
    world.serving.drain().await;
    let drained = world.invoker.drained();
    tokio::pin!(drained);
    assert!(futures::poll!(&mut drained).is_pending());
    socket.write_all(b"a").await.unwrap();
    until(&mut socket, "aa").await;
    socket.write_all(b"!").await.unwrap();
    tokio::time::timeout(PATIENCE, drained)
        .await
        .expect("it has ended");
}
