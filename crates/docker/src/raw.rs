//! The two calls of the Engine API that are made byte by byte instead of through bollard.
//!
//! `create` sends the template's own JSON back, so that a field which bollard's types don't know yet isn't lost on
//! the way; `attach` takes the raw connection, since bollard guesses from the first byte whether a stream is
//! multiplexed, and a terminal may write any byte (docs/decisions/020).

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::client::{Endpoint, TIMEOUT_SECONDS};
use crate::error::CallError;

/// An attached container's two-way stream, multiplexed unless it has a terminal.
pub(crate) type Attached = TokioIo<Upgraded>;

/// Speaks to the engine over a connection per call.
#[derive(Debug, Clone)]
pub(crate) struct RawApi {
    endpoint: Endpoint,
    version: String,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl RawApi {
    /// `version` as in `1.41`.
    pub(crate) fn new(endpoint: Endpoint, version: &str) -> Self {
        Self {
            endpoint,
            version: version.to_owned(),
        }
    }

    /// Creates a container from a create body and returns its id.
    pub(crate) async fn create(&self, name: &str, body: &Value) -> Result<String, CallError> {
        let response = self
            .request(
                &format!("/containers/create?name={name}"),
                body.to_string(),
                false,
            )
            .await?;
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?
            .to_bytes();
        let answer: Value = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        let id = answer.get("Id").and_then(Value::as_str);
        id.map(str::to_owned)
            .ok_or_else(|| io::Error::other("the engine created a container without an id").into())
    }

    /// Attaches to a container's streams; `stdin` as well, where asked for.
    pub(crate) async fn attach(&self, container: &str, stdin: bool) -> Result<Attached, CallError> {
        let stdin = u8::from(stdin);
        let path = format!("/containers/{container}/attach?stream=1&stdin={stdin}&stdout=1&stderr=1");
        let response = self.request(&path, String::new(), true).await?;
        Ok(TokioIo::new(
            hyper::upgrade::on(response).await.map_err(io::Error::other)?,
        ))
    }

    async fn request(
        &self,
        path: &str,
        body: String,
        upgrade: bool,
    ) -> Result<http::Response<Incoming>, CallError> {
        let limit = Duration::from_secs(TIMEOUT_SECONDS);
        tokio::time::timeout(limit, self.send(path, body, upgrade))
            .await
            .map_err(|_| CallError::TimedOut)?
    }

    async fn send(
        &self,
        path: &str,
        body: String,
        upgrade: bool,
    ) -> Result<http::Response<Incoming>, CallError> {
        let stream: Box<dyn Connection> = match &self.endpoint {
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Endpoint::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        // Ends by itself: with the answer, or when the upgraded stream is handed over.
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("/v{}{path}", self.version))
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json");
        if upgrade {
            request = request
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "tcp");
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?
            .to_bytes();
        let json: Option<Value> = serde_json::from_slice(&bytes).ok();
        let message = json
            .as_ref()
            .and_then(|json| json.get("message"))
            .and_then(Value::as_str);
        let message = message.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
        Err(CallError::Refused { status, message })
    }
}
