//! The daemon: a connection for each call, made and dropped with it, so that nothing of one call is left for another.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use skep_docker::Endpoint;
use skep_grant::Refusal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::answer::{Body, empty, full};

/// How long an answer that is no stream is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer that is read whole.
const LARGEST: usize = 32 << 20;

/// The way to the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    endpoint: Endpoint,
    /// The newest version that both speak.
    pub(crate) version: (u32, u32),
}

/// A call, written by this crate.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Without the version, with the query.
    pub(crate) path: String,
    pub(crate) version: (u32, u32),
    pub(crate) body: Body,
    /// Whether the body is a tar archive and no JSON.
    pub(crate) archive: bool,
    /// Whether the connection is to become the container's streams.
    pub(crate) upgrade: bool,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The daemon can't be asked.
pub(crate) fn unreachable(error: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(%error, "the engine did not answer a function's call");
    Refusal {
        status: 503,
        message: "the engine does not answer".to_owned(),
    }
}

impl Daemon {
    pub(crate) fn new(endpoint: Endpoint, version: (u32, u32)) -> Self {
        Self { endpoint, version }
    }

    /// Sends a call; the answer is as it comes, of whatever status.
    pub(crate) async fn send(&self, call: Outgoing) -> Result<Response<Incoming>, Refusal> {
        self.try_send(call).await.map_err(|error| unreachable(&error))
    }

    async fn try_send(&self, call: Outgoing) -> io::Result<Response<Incoming>> {
        let stream: Box<dyn Connection> = match &self.endpoint {
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Endpoint::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        // Ends by itself: with the answer's last byte, or when its reader goes away.
        tokio::spawn(connection.with_upgrades());
        let (major, minor) = call.version;
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("/v{major}.{minor}{}", call.path))
            .header(HOST, "docker")
            .body(call.body)
            .map_err(io::Error::other)?;
        let kind = if call.archive {
            "application/x-tar"
        } else {
            "application/json"
        };
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if call.upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
        }
        sender.send_request(request).await.map_err(io::Error::other)
    }

    /// A call whose answer is JSON, read whole. What the daemon refuses is an error with its status and words.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refusal> {
        let call = Outgoing {
            method,
            path: path.to_owned(),
            version: self.version,
            body: body.map_or_else(empty, |body| full(body.to_string())),
            archive: false,
            upgrade: false,
        };
        let (status, bytes) = tokio::time::timeout(PATIENCE, async {
            let response = self.send(call).await?;
            let status = response.status();
            Ok::<_, Refusal>((status, whole(response.into_body()).await?))
        })
        .await
        .map_err(|error| unreachable(&error))??;
        understood(status, &bytes)
    }
}

/// An answer's JSON, or the daemon's refusal as it said it.
pub(crate) fn understood(status: StatusCode, bytes: &[u8]) -> Result<Value, Refusal> {
    let value: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(value);
    }
    let message = value.get("message").and_then(Value::as_str);
    Err(Refusal {
        status: status.as_u16(),
        message: message.unwrap_or("the engine refused").to_owned(),
    })
}

/// Reads a body to its end.
pub(crate) async fn whole(body: Incoming) -> Result<Bytes, Refusal> {
    let limited = http_body_util::Limited::new(body, LARGEST);
    let collected = limited.collect().await;
    Ok(collected.map_err(|error| unreachable(&error))?.to_bytes())
}
