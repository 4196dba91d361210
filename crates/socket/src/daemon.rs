//! The daemon. A connection serves the next call when the answer of the one before was read to its end and left
//! nothing; one that was cut short, or that became a container's streams, serves no other.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use skep_docker::Endpoint;
use skep_grant::Refusal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::answer::{Body, empty, full};
use crate::archive::Archive;

/// How long an answer that is no stream is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer that is read whole.
const LARGEST: usize = 32 << 20;
/// How many connections are kept: what a burst needed beyond them is closed.
const KEPT: usize = 32;

/// The way to the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    endpoint: Endpoint,
    /// The newest version that both speak.
    pub(crate) version: (u32, u32),
    /// Connections that may serve another call, once their last answer was read.
    kept: Arc<Mutex<Vec<SendRequest<Body>>>>,
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

impl Outgoing {
    fn written(self) -> io::Result<Request<Body>> {
        let (major, minor) = self.version;
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("/v{major}.{minor}{}", self.path))
            .header(HOST, "docker")
            .body(self.body)
            .map_err(io::Error::other)?;
        let kind = if self.archive {
            "application/x-tar"
        } else {
            "application/json"
        };
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if self.upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
        }
        Ok(request)
    }
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
        Self {
            endpoint,
            version,
            kept: Arc::default(),
        }
    }

    /// Sends a call; the answer is as it comes, of whatever status.
    pub(crate) async fn send(&self, call: Outgoing) -> Result<Response<Incoming>, Refusal> {
        self.try_send(call).await.map_err(|error| unreachable(&error))
    }

    async fn try_send(&self, call: Outgoing) -> io::Result<Response<Incoming>> {
        let upgrade = call.upgrade;
        let mut request = call.written()?;
        if upgrade {
            let mut sender = self.connect().await?;
            return sender.send_request(request).await.map_err(io::Error::other);
        }
        while let Some(mut sender) = self.take() {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(sender);
                    return Ok(response);
                }
                // The daemon closed it meanwhile: what was not sent at all goes over another.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(io::Error::other(error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        self.keep(sender);
        Ok(response)
    }

    /// A connection whose last answer was read to its end.
    fn take(&self) -> Option<SendRequest<Body>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|sender| !sender.is_closed());
        let ready = kept.iter().rposition(SendRequest::is_ready)?;
        Some(kept.swap_remove(ready))
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(sender);
        // Those at the front have been streaming the longest; they go on, and end with their answer.
        let beyond = kept.len().saturating_sub(KEPT);
        kept.drain(..beyond);
    }

    async fn connect(&self) -> io::Result<SendRequest<Body>> {
        let stream: Box<dyn Connection> = match &self.endpoint {
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Endpoint::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends by itself: when nobody keeps its sender and its last answer is read, or its reader goes away.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// Unpacks an archive in a container.
    pub(crate) async fn put(&self, container: &str, archive: Archive) -> Result<(), Refusal> {
        let call = Outgoing {
            method: Method::PUT,
            path: format!("/containers/{container}/archive?path=%2F"),
            version: self.version,
            body: full(archive.0),
            archive: true,
            upgrade: false,
        };
        let response = self.send(call).await?;
        let status = response.status();
        understood(status, &whole(response.into_body()).await?).map(drop)
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
