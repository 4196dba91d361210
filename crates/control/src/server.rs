//! The listener itself: accepts connections, bounds them, and ends with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::guard::{Access, LocalAddress, guard};
use crate::node::Node;
use crate::routes::{Shared, routes};

/// Operators are few; a script that leaks connections shall not use up the process's files.
const CONNECTIONS: usize = 256;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that the control listener answers, behind its guard.
pub fn router(
    node: Arc<dyn Node>,
    registry: Arc<Registry>,
    access: Access,
    stop: CancellationToken,
) -> Router {
    routes(Shared { node, registry, stop }).layer(middleware::from_fn_with_state(access, guard))
}

/// The same for those whose connection already says who they are.
pub fn unguarded(node: Arc<dyn Node>, registry: Arc<Registry>, stop: CancellationToken) -> Router {
    routes(Shared { node, registry, stop })
}

/// The control listener, ready to run.
#[derive(Debug)]
pub struct Control {
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
}

impl Control {
    /// Serves `router` on `listener` until `stop` is cancelled.
    pub fn new(listener: TcpListener, router: Router, stop: CancellationToken) -> Self {
        Self {
            listener,
            router,
            stop,
        }
    }

    /// Accepts and serves; returns after `stop`, when every connection ended.
    pub async fn run(self) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let permit = tokio::select! {
                () = self.stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                Ok(permit) = Arc::clone(&room).acquire_owned() => permit,
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, self.router.clone(), self.stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control listener could not accept a connection");
                    // Out of files, most likely: trying again at once would only burn the processor.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let local: Option<SocketAddr> = stream.local_addr().ok();
    let service = router.map_request(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        if let Some(local) = local {
            request.extensions_mut().insert(LocalAddress(local));
        }
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a control connection ended early");
    }
}
