//! `SKEP_URL` on a node: what functions ask there is asked of a gateway, whichever answers, and elsewhere once more where
//! nothing of it has begun. The agent says who asks; nobody else could know.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skep_invoke::{Body, BodyError, Replay, empty, problem_response, remove_hop_by_hop, upgrade_of};
use skep_model::{Problem, ProblemCode};
use skep_tls::Members as _;
use skep_wire::{CALLER, Caller, Field as _, GATEWAY_NAME};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::gateways::Gateways;

/// Where asynchronous invocations are looked at.
const OWN: &str = "/_skep/";

/// Brings calls to gateways. A clone is the same.
#[derive(Debug, Clone)]
pub struct Calls {
    gateways: Gateways,
    /// Connections that became something else.
    tasks: TaskTracker,
}

impl Calls {
    /// To these.
    pub fn new(gateways: Gateways) -> Self {
        Self {
            gateways,
            tasks: TaskTracker::new(),
        }
    }

    /// Answers one call.
    pub async fn call(&self, mut request: Request<Body>, caller: Caller) -> Response<Body> {
        let protocol = upgrade_of(request.headers());
        let client = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        remove_hop_by_hop(&mut parts.headers);
        skep_wire::disown_request(&mut parts.headers);
        // Said here, as soon as the body is asked for.
        parts.headers.remove(EXPECT);
        parts.headers.insert(CALLER, caller.header());
        let answered = match (protocol, client) {
            (Some(protocol), Some(client)) => self.upgraded(parts, protocol, client).await,
            _ => self.answered(parts, Replay::new(body)).await,
        };
        answered.unwrap_or_else(|problem| {
            if let Some(internal) = &problem.internal {
                tracing::warn!(
                    code = problem.code.as_str(),
                    internal,
                    "a function's call came to nothing"
                );
            }
            problem_response(&problem, None)
        })
    }

    /// Returns when every connection that became something else has ended. Call it once nothing new comes.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn answered(&self, parts: Parts, body: Replay) -> Result<Response<Body>, Problem> {
        let mut unknown = None;
        for (address, line) in self.gateways.reachable().await {
            let Some(sending) = body.send() else { break };
            let mut request = Request::from_parts(parts.clone(), skep_tls::body(sending));
            skep_tls::address(&mut request, GATEWAY_NAME).map_err(|error| {
                Problem::new(ProblemCode::BadRequest)
                    .detail("The request's target can't be passed on.")
                    .internal(error.to_string())
            })?;
            match line.send(request).await {
                // What one gateway accepted, another may not know of.
                Ok(response)
                    if response.status() == StatusCode::NOT_FOUND && parts.uri.path().starts_with(OWN) =>
                {
                    unknown = Some(response);
                }
                Ok(response) => {
                    body.settle();
                    return Ok(passed_on(response));
                }
                Err(error) => {
                    if let Some(fault) = body.fault() {
                        return Err(fault.problem());
                    }
                    if !skep_tls::was_not_sent(&error) {
                        return Err(lost(&error));
                    }
                    tracing::debug!(%address, %error, "a gateway took no call; another is asked");
                }
            }
        }
        unknown.map(passed_on).ok_or_else(nobody)
    }

    /// A connection of its own, joined to the caller's.
    async fn upgraded(
        &self,
        parts: Parts,
        protocol: HeaderValue,
        client: OnUpgrade,
    ) -> Result<Response<Body>, Problem> {
        for (address, _) in self.gateways.reachable().await {
            let connection = match self.gateways.dialer().upgradable(address).await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::debug!(%error, "a gateway took no call; another is asked");
                    continue;
                }
            };
            let mut request = Request::from_parts(parts, skep_tls::body(empty()));
            skep_tls::address_upgrade(&mut request, GATEWAY_NAME, protocol);
            let (mut response, driver) = connection.send(request).await.map_err(|error| lost(&error))?;
            let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let protocol = response.headers().get(UPGRADE).cloned();
            let gateway = switched.then(|| hyper::upgrade::on(&mut response));
            let mut answer = passed_on(response);
            let Some(gateway) = gateway else {
                // The connection lasts as long as the answer.
                return Ok(answer.map(|body| {
                    Held {
                        body,
                        _driver: driver,
                    }
                    .boxed_unsync()
                }));
            };
            let headers = answer.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = protocol {
                headers.insert(UPGRADE, protocol);
            }
            self.tasks.spawn(async move {
                if let Err(error) = joined(client, gateway).await {
                    tracing::debug!(%error, "an upgraded call broke");
                }
                drop(driver);
            });
            return Ok(answer);
        }
        Err(nobody())
    }
}

async fn joined(client: OnUpgrade, gateway: OnUpgrade) -> std::io::Result<()> {
    let client = client.await.map_err(std::io::Error::other)?;
    let gateway = gateway.await.map_err(std::io::Error::other)?;
    let (mut client, mut gateway) = (TokioIo::new(client), TokioIo::new(gateway));
    tokio::io::copy_bidirectional(&mut client, &mut gateway)
        .await
        .map(drop)
}

fn nobody() -> Problem {
    Problem::new(ProblemCode::NoGateway)
        .internal("no gateway takes calls: `docker service ps skep-gateway` tells why")
        .retry_after(1)
}

fn lost(error: &hyper::Error) -> Problem {
    Problem::new(ProblemCode::NodeLost).internal(format!(
        "the connection to the gateway that had the call broke: {error}"
    ))
}

fn passed_on(response: Response<Incoming>) -> Response<Body> {
    let mut response = response.map(|incoming| {
        Passed {
            incoming: Some(incoming),
            cut: None,
        }
        .boxed_unsync()
    });
    remove_hop_by_hop(response.headers_mut());
    response
}

/// An answer's body on its way to the caller.
struct Passed {
    incoming: Option<Incoming>,
    /// Why it is cut, once what came before has had its chance to be sent: a server that meets an error forgets what it
    /// has not written.
    cut: Option<BodyError>,
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        match std::task::ready!(Pin::new(incoming).poll_frame(context)) {
            Some(Err(error)) => {
                self.incoming = None;
                self.cut = Some(BodyError::Cut(error.to_string()));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.cut.is_none() && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

/// An answer on a connection of its own.
struct Held {
    body: Body,
    _driver: AbortOnDropHandle<()>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
