//! HTTP on one connection: HTTP/1.1, or HTTP/2 by prior knowledge.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::forwarded::Origin;
use crate::gateway::{Door, Gateway};
use crate::service::{Caller, Connection};
use crate::stream::GuardedStream;
use crate::turn::{Answer, Turn};
use crate::window::Windows;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 250;
/// How often the other end of an HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// Serves a connection to its end, or, once draining, to the end of what is under way.
pub(crate) async fn serve(
    gateway: Gateway,
    door: Door,
    stream: TcpStream,
    peer: SocketAddr,
    windows: Windows,
    drain: CancellationToken,
    tasks: TaskTracker,
) {
    let Ok(local) = stream.local_addr() else { return };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let builder = builder(&gateway, windows);
    let config = gateway.config();
    let turn = Arc::new(Turn::default());
    let problems = gateway.clone();
    let guarded = GuardedStream::new(
        stream,
        turn.clone(),
        config.header_timeout,
        config.send_timeout,
        Box::new(move |problem| problems.work().metrics().problem(problem.code)),
    );
    let origin = Origin::new(peer, local, &config.trusted_proxies);
    let connection = Arc::new(Connection {
        gateway: gateway.clone(),
        origin,
        door,
        tasks,
        turn,
        drain: drain.clone(),
        caller: Caller::Peer,
    });
    let service = service_fn(move |request: Request<Incoming>| {
        let connection = connection.clone();
        let turn = (request.version() != Version::HTTP_2).then(|| connection.turn.clone());
        if let Some(turn) = &turn {
            turn.begin();
        }
        async move {
            let mut response = connection.answer(request).await;
            if let Some(turn) = &turn {
                name_status(&mut response);
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    turn.upgrade();
                } else if connection.drain.is_cancelled() {
                    // It may have begun on another thread since hyper was last asked to go on, and so was not told.
                    close_after(&mut response);
                }
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| Answer::new(body, turn)))
        }
    });
    let mut served = pin!(builder.serve_connection_with_upgrades(TokioIo::new(guarded), service));
    let ended = tokio::select! {
        // Both may be ready when this thread comes to it: after a drain began, nothing more is read as before it.
        biased;
        () = drain.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        ended = served.as_mut() => ended,
    };
    if let Err(error) = ended {
        // A caller that goes away, or sends what is not HTTP: nothing an operator can change.
        tracing::debug!(error, %peer, "a connection broke");
    }
}

/// Says that an answer is the last of its HTTP/1 connection, which hyper then closes.
pub(crate) fn close_after<B>(response: &mut Response<B>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

/// A status that has no name gets none, where nobody gave it one: hyper would write `<none>`.
fn name_status<B>(response: &mut Response<B>) {
    if response.status().canonical_reason().is_none() {
        let extensions = response.extensions_mut();
        extensions.get_or_insert_with(|| ReasonPhrase::from_static(b""));
    }
}

fn builder(gateway: &Gateway, windows: Windows) -> Builder<TokioExecutor> {
    let config = gateway.config();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The stream has that clock: it can also say that it ran out.
        .header_read_timeout(None)
        .max_buf_size(config.max_header.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_header_list_size(u32::try_from(config.max_header).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(config.send_timeout);
    builder
}
