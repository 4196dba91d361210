//! Asking a running Skep: a small HTTP client for its control listener, one connection for each request.

mod lines;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use skep_control::api;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) use lines::Lines;

use crate::cli;
use crate::exit::{Exit, Failed};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A request's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An answer, and what its body comes from.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    /// Drives the connection for as long as the answer is read.
    _driver: JoinSet<()>,
}

/// The control listener of a running Skep.
#[derive(Debug)]
pub(crate) struct Client {
    authority: String,
    token: Option<String>,
}

/// No body.
pub(crate) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

impl Client {
    pub(crate) fn new(control: &cli::Control) -> Result<Self, Failed> {
        let authority = authority(&control.control)?;
        let token = control
            .control_token_file
            .as_deref()
            .map(read_token)
            .transpose()?;
        Ok(Self { authority, token })
    }

    /// Reads a thing; 404 is `None`.
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failed> {
        let request = Request::get(path).body(nothing());
        let answer = self.send(request.map_err(|error| malformed(&error))?).await?;
        let status = answer.response.status();
        let body = answer.collect().await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        let value = serde_json::from_slice(&body).map_err(|error| {
            Failed::new(
                Exit::Failure,
                format!("the answer to {path} can't be understood: {error}"),
            )
            .hint("the running Skep may be of another version than this command")
        })?;
        Ok(Some(value))
    }

    /// Reads what is always there.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let found = self.find(path).await?;
        found.ok_or_else(|| {
            Failed::new(Exit::Failure, format!("http://{} has no {path}", self.authority)).hint(
                "that is not the control listener, whose address `skep serve` prints as `control on http://…`; or it is \
                 of another version than this command",
            )
        })
    }

    /// Sends a request, and returns as soon as the answer's head is there.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Answer, Failed> {
        let headers = request.headers_mut();
        let host = self.authority.parse().map_err(|error| malformed(&error))?;
        headers.insert(header::HOST, host);
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}")
                .parse()
                .map_err(|error| malformed(&error))?;
            headers.insert(header::AUTHORIZATION, value);
        }
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority)).await;
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => return Err(self.unreachable(&"it does not answer")),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        let mut driver = JoinSet::new();
        // An error of the connection reaches the reader of the body as well, who says it.
        driver.spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| {
            Failed::from_error(Exit::Failure, &error)
                .hint(format!("is http://{} really Skep?", self.authority))
        })?;
        Ok(Answer {
            response,
            _driver: driver,
        })
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failed {
        let at = &self.authority;
        Failed::new(Exit::Unreachable, format!("no Skep can be reached at http://{at}: {error}")).hint(
            "start one with `skep serve`, or say where its control listener is: --control URL or SKEP_CONTROL",
        )
    }
}

impl Answer {
    /// The next piece of the body.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failed>> {
        loop {
            match self.response.body_mut().frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_trailers) => continue,
                },
                Err(error) => {
                    let failed = Failed::new(Exit::Failure, format!("the answer was cut short: {error}"));
                    return Some(Err(failed));
                }
            }
        }
    }

    /// The whole body.
    pub(crate) async fn collect(mut self) -> Result<Vec<u8>, Failed> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await {
            body.extend_from_slice(&piece?);
        }
        Ok(body)
    }
}

/// What the listener said no with.
pub(crate) fn refused(status: StatusCode, body: &[u8]) -> Failed {
    let exit = if status == StatusCode::NOT_FOUND {
        Exit::NotFound
    } else {
        Exit::Failure
    };
    let failed = match serde_json::from_slice::<api::Problem>(body) {
        Ok(problem) => Failed::new(exit, problem.detail.unwrap_or(problem.title)),
        Err(_) => Failed::new(exit, format!("Skep answered {status}")),
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            failed.hint("give the token that `skep serve` was started with: --control-token-file FILE")
        }
        _ => failed,
    }
}

fn malformed(error: &dyn std::fmt::Display) -> Failed {
    Failed::new(Exit::Usage, format!("this can't be asked: {error}"))
}

/// Host and port of the control listener's URL.
fn authority(url: &str) -> Result<String, Failed> {
    let text = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let fail = |what: &str| {
        Failed::new(Exit::Usage, format!("--control {url}: {what}"))
            .hint("it is the address that `skep serve` prints as `control on http://…`")
    };
    if text.starts_with("https://") {
        return Err(fail("Skep's control listener speaks no TLS"));
    }
    let authority: http::uri::Authority = text.parse().map_err(|_| fail("must be http://HOST:PORT"))?;
    match authority.port_u16() {
        Some(_) => Ok(authority.to_string()),
        None => Ok(format!("{authority}:80")),
    }
}

pub(crate) fn read_token(path: &Path) -> Result<String, Failed> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failed::new(
            Exit::Failure,
            format!("the token file {} can't be read: {error}", path.display()),
        )
    })?;
    Ok(text.trim().to_owned())
}
