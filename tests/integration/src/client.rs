//! An HTTP client that hides nothing: one connection per request, bodies as streams.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// A request's body.
pub type Body = BoxBody<Bytes, std::convert::Infallible>;

/// No body.
pub fn empty() -> Body {
    Empty::new().boxed()
}

/// A body that is known as a whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A response, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What came after the body.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as text.
    ///
    /// # Panics
    /// When it isn't UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it isn't.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's value, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a header of plain text"))
    }

    /// The stable code of a problem, after checking that it is one as the documentation promises.
    ///
    /// # Panics
    /// When it is no problem.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16(), "{self:?}");
        body["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {self:?}"))
            .to_owned()
    }
}

/// Sends requests to one address.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Where to.
    pub address: SocketAddr,
}

impl Client {
    /// GET, read to the end.
    ///
    /// # Panics
    /// When there is no complete answer.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(empty()).expect("a request"))
            .await
    }

    /// POST, read to the end.
    ///
    /// # Panics
    /// When there is no complete answer.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Request::post(path).body(full(body)).expect("a request"))
            .await
    }

    /// `Prefer: respond-async`; returns the path by which the invocation is looked at.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn post_async(&self, path: &str, body: impl Into<Bytes>) -> String {
        let request = Request::post(path)
            .header("prefer", "respond-async")
            .body(full(body))
            .expect("a request");
        let answer = self.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// Sends a request over HTTP/1.1 and reads the answer to its end.
    ///
    /// # Panics
    /// When there is no complete answer.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        self.try_send(request)
            .await
            .unwrap_or_else(|error| panic!("no complete answer: {error:?}"))
    }

    /// The same where the connection may break.
    ///
    /// # Errors
    /// There was no connection, or no complete answer.
    pub async fn try_send(
        &self,
        request: Request<Body>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let response = self.try_open(request).await?;
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: collected.to_bytes(),
            trailers,
        })
    }

    /// Sends a request and returns as soon as the answer's head is here.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn open(&self, request: Request<Body>) -> Response<Incoming> {
        self.try_open(request)
            .await
            .unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    async fn try_open(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the response's body, or with the value that holds it.
        tokio::spawn(connection.with_upgrades());
        if !request.headers().contains_key("host") {
            request
                .headers_mut()
                .insert("host", self.address.to_string().parse()?);
        }
        Ok(sender.send_request(request).await?)
    }

    /// Sends a request over HTTP/2 without TLS, by prior knowledge; `path` is put on this address.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn open_h2(&self, method: &str, path: &str, body: Body) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.expect("HTTP/2");
        tokio::spawn(connection);
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(body)
            .expect("a request");
        sender.send_request(request).await.expect("an answer")
    }

    /// Sends these bytes as they are, and returns everything that comes back until the connection ends.
    ///
    /// # Panics
    /// When nothing can be sent.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(bytes).await.expect("can be sent");
        let mut answer = Vec::new();
        // A connection that is reset has said what it had to say.
        let _ = tokio::time::timeout(crate::PATIENCE, stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}
