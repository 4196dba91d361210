//! Handing a call on to the daemon, and its answer back: as a stream, or as the container's own streams.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use skep_grant::Refusal;
use tokio::io::AsyncWriteExt;

use super::Context;
use crate::answer::{Answer, Body, empty, nothing};
use crate::daemon::{Outgoing, understood, whole};
use crate::handover;

/// Headers of the daemon's that mean something to clients.
const KEPT: [HeaderName; 2] = [
    CONTENT_TYPE,
    HeaderName::from_static("x-docker-container-path-stat"),
];

impl Context {
    /// A call to the daemon in the client's own version of the API.
    pub(super) fn outgoing(&self, method: Method, path: String, body: Body) -> Outgoing {
        Outgoing {
            method,
            path,
            version: self.version,
            body,
            archive: false,
            upgrade: false,
        }
    }

    /// A call whose answer is JSON.
    pub(super) async fn ask(&self, method: Method, path: String) -> Result<Value, Refusal> {
        let response = self
            .shared
            .daemon
            .send(self.outgoing(method, path, empty()))
            .await?;
        let status = response.status();
        understood(status, &whole(response.into_body()).await?)
    }

    /// Hands on; the answer's body comes as it is written.
    pub(super) async fn forward(&self, call: Outgoing) -> Result<Answer, Refusal> {
        let response = self.shared.daemon.send(call).await?;
        self.passed(response).await
    }

    /// The daemon's answer as ours. What it refuses is read, for its words may hold names.
    pub(super) async fn passed(&self, response: Response<Incoming>) -> Result<Answer, Refusal> {
        let (parts, body) = response.into_parts();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            if parts
                .headers
                .get(CONTENT_LENGTH)
                .is_none_or(|length| length != "0")
            {
                let bytes = whole(body).await?;
                understood(parts.status, &bytes)?;
            }
            return Ok(nothing(parts.status));
        }
        let body = body.map_err(Into::into).boxed_unsync();
        let mut answer = Response::new(if parts.status == StatusCode::NO_CONTENT {
            empty()
        } else {
            body
        });
        *answer.status_mut() = parts.status;
        kept(&parts.headers, answer.headers_mut());
        Ok(answer)
    }

    /// Hands on a call whose connection becomes the container's streams, where the client asks for that.
    pub(super) async fn hijack(
        &self,
        headers: HeaderMap,
        upgrade: Option<OnUpgrade>,
        path: String,
        body: Option<Bytes>,
    ) -> Result<Answer, Refusal> {
        let upgrades = wants_upgrade(&headers);
        let body = body.map_or_else(empty, crate::answer::full);
        let theirs = upgrade.filter(|_| upgrades);
        let mut call = self.outgoing(Method::POST, path, body);
        call.upgrade = upgrades;
        let mut response = self.shared.daemon.send(call).await?;
        // Only where the daemon has given up speaking HTTP on that connection may bytes go through as they are.
        let Some(theirs) = theirs.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) else {
            return self.passed(response).await;
        };
        let kind = response.headers().get(CONTENT_TYPE).cloned();
        let ours = hyper::upgrade::on(&mut response);
        joined(self, theirs, ours);
        let mut answer = nothing(StatusCode::SWITCHING_PROTOCOLS);
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, kind);
        }
        Ok(answer)
    }
}

/// Copies what means something to clients.
pub(super) fn kept(from: &HeaderMap, to: &mut HeaderMap) {
    for name in KEPT {
        if let Some(value) = from.get(&name) {
            to.insert(name, value.clone());
        }
    }
}

/// Joins the client's connection with the one behind it, until both have ended or the socket closes.
pub(super) fn joined(context: &Context, theirs: OnUpgrade, ours: OnUpgrade) {
    let (closed, place) = (context.closed.clone(), context.place.clone());
    context.shared.tasks.spawn(async move {
        let copying = async {
            let (Ok(theirs), Ok(ours)) = (theirs.await, ours.await) else {
                return;
            };
            let mut ours = TokioIo::new(ours);
            let Ok((theirs, early, hang_up)) = handover::taken(theirs).await else {
                return;
            };
            if ours.write_all(&early).await.is_err() {
                return;
            }
            let (mut from, mut to) = tokio::io::split(theirs);
            let (mut out, mut back) = tokio::io::split(ours);
            // Either side may close its own direction first.
            let said = async {
                drop(tokio::io::copy(&mut from, &mut back).await);
                drop(back.shutdown().await);
                // All that it sent has gone on. Where it has gone too, nobody reads the rest; both directions closed
                // are the same to the kernel.
                hang_up.wait().await;
            };
            let answered = async {
                let passed = tokio::io::copy(&mut out, &mut to).await.is_ok() && to.shutdown().await.is_ok();
                // Of another node's client it is not known when it has gone: the end of the output is the end.
                if passed && hang_up.is_known() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = said => {}
                () = answered => {}
            }
        };
        tokio::select! {
            () = closed.cancelled() => {}
            () = copying => {}
        }
        drop(place);
    });
}

pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    let says = |name: HeaderName, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| {
            value
                .split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(word))
        })
    };
    says(CONNECTION, "upgrade") && says(UPGRADE, "tcp")
}
