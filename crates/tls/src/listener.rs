//! Accepting members of one name, and serving them until the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::dialer::{CONNECTION_WINDOW, HTTP1, HTTP2, STREAM_WINDOW};
use crate::identity::{Identity, IdentityError, provider};
use crate::verifier::Named;

/// How long a member may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once: each gateway has one, and one for each upgrade.
const CONNECTIONS: usize = 16_384;
/// Requests at once in one connection: what is admitted is decided behind it, with an answer that says why.
const STREAMS: u32 = 65_536;
/// Callers who go away reset their requests, and that is no attack where the other side is a member.
const RESETS: usize = 65_536;
/// How often a silent connection is tried, and how long the answer may take.
const BEAT: Duration = Duration::from_secs(10);
/// How long is waited when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What answers a request.
pub trait Reply: Clone + Send + Sync + 'static {
    /// The answer's body.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers. Dropped when the caller has gone.
    fn reply(&self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Accepts members of one name.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl Listener {
    /// As this member, from members with this name.
    ///
    /// # Errors
    /// The identity or the name can't be used.
    pub fn new(listener: TcpListener, identity: &Identity, name: &str) -> Result<Self, IdentityError> {
        let peer = ServerName::try_from(name.to_owned()).map_err(|_| IdentityError::Name(name.to_owned()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Key)?
            .with_client_cert_verifier(Arc::new(Named::new(identity, peer)?))
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(IdentityError::Key)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Self {
            listener,
            config: Arc::new(config),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`; then takes nothing new, and returns when every request was answered.
    pub async fn serve<R: Reply>(self, reply: R, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                Ok(permit) = Arc::clone(&room).acquire_owned() => permit,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let (config, reply, stop) = (self.config.clone(), reply.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection(stream, config, reply, stop).await {
                            tracing::debug!(%address, error, "a member's connection ended early");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a member's connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

async fn connection<R: Reply>(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    reply: R,
    stop: CancellationToken,
) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let shaking = timeout(PATIENCE, TlsAcceptor::from(config).accept(stream));
    let stream = tokio::select! {
        shaken = shaking => shaken
            .map_err(|_| "it did not say in time who it is".to_owned())?
            .map_err(|error| error.to_string())?,
        () = stop.cancelled() => return Ok(()),
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(BEAT)
        .keep_alive_timeout(BEAT);
    let service = service_fn(move |request| {
        let reply = reply.clone();
        async move { Ok::<_, Infallible>(reply.reply(request).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(|error| error.to_string())
}
