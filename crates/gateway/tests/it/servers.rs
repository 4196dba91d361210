//! Servers that play `http` instances: hyper's for what is well behaved, bytes by hand for what is not.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::engine::{Behaviour, server};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// An answer that is there as a whole.
pub(crate) fn answer(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).boxed_unsync())
}

/// A well-behaved server, HTTP/1.1 and h2c. Its connections end with it.
pub(crate) fn web<F>(respond: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Behaviour
where
    F: Future<Output = Answer> + Send + 'static,
{
    let respond = Arc::new(respond);
    server(move |listener| {
        let respond = respond.clone();
        async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let respond = respond.clone();
                let service = service_fn(move |request| {
                    let answer = respond(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                connections.spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    // A test that breaks the connection sees it from its own side.
                    let _ = builder
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                });
            }
        }
    })
}

/// A server that tells what it was asked: the request line, its header, its body.
pub(crate) fn mirror() -> Behaviour {
    web(|request| async move {
        let (parts, body) = request.into_parts();
        let mut text = format!("{} {}\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            text.push_str(&format!(
                "{name}: {}\n",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        let body = body.collect().await.expect("a whole body").to_bytes();
        answer(format!("{text}\n{}", String::from_utf8_lossy(&body)))
    })
}

/// A server that reads a request's head by hand and then does what it is told with the connection; it counts them.
pub(crate) fn by_hand<F>(
    connections: Arc<AtomicUsize>,
    play: impl Fn(TcpStream, String) -> F + Send + Sync + 'static,
) -> Behaviour
where
    F: Future<Output = ()> + Send + 'static,
{
    let play = Arc::new(move |stream, head| -> BoxFuture<'static, ()> { Box::pin(play(stream, head)) });
    server(move |listener| {
        let (play, connections) = (play.clone(), connections.clone());
        async move {
            let mut running = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (play, connections) = (play.clone(), connections.clone());
                running.spawn(async move {
                    let Some(head) = read_head(&mut stream).await else {
                        return;
                    };
                    connections.fetch_add(1, Ordering::SeqCst);
                    play(stream, head).await;
                });
            }
        }
    })
}

/// A server that answers every connection with these bytes and closes it.
pub(crate) fn says(bytes: &'static str) -> Behaviour {
    by_hand(Arc::default(), move |mut stream, _| async move {
        // The other side may have had enough.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
}

/// A request's head; `None` where the connection is closed without one.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
