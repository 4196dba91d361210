//! `http`: the instance is an HTTP server (DESIGN 4.2).
//!
//! A connection to an instance is driven by the task of the request that uses it, and lies unpolled beside the
//! instance in between: nothing is spawned, and no wake-up crosses threads. Only HTTP/2 connections, which many
//! requests share, have a task of their own.

mod http1;
mod http2;
mod outgoing;
mod stream;
mod tunnel;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use skep_dispatch::Fate;
use skep_engine::Instance;
use skep_model::{Problem, ProblemCode, Protocol};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::body::{Body, empty};
use crate::headers::{remove_hop_by_hop, upgrade_of};
use crate::invocation::Invocation;
use crate::response::has_body;
use crate::run::{Failure, Run};
use crate::silence::Silence;
use crate::trace::Trace;
use crate::upload::{Progress, Upload};
use http1::Wire;
use stream::HttpBody;

/// After a connection broke, an instance that is about to be known to have exited is waited for this long: a busy
/// engine takes its time to say so.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The same after an answer that can't be understood.
const PARSED_GRACE: Duration = Duration::from_millis(250);

/// Why an exchange with an instance gave no response.
enum Broken {
    /// The time is over.
    Timeout,
    /// It can't be connected to.
    Connect(std::io::Error),
    /// The connection broke, or what came is not HTTP.
    Http(hyper::Error),
}

/// A request on its way to an instance, and what watches over it.
pub(crate) struct Exchange {
    instance: Arc<dyn Instance>,
    /// The connection on which the instance was found ready.
    first: Option<TcpStream>,
    connections: Connections,
    method: Method,
    /// What is to be sent.
    request: Request<Upload>,
    silence: Silence,
    progress: Arc<Progress>,
    /// The caller's half, where it asks for another protocol.
    client: Option<OnUpgrade>,
}

/// What is kept open to the instance.
enum Connections {
    Http1(Arc<http1::Idle>),
    Http2(Arc<http2::Shared>),
}

impl Exchange {
    /// Makes a caller's request the instance's.
    pub(crate) fn prepare(
        run: &mut Run,
        invocation: Invocation,
        trace: &Trace,
    ) -> Result<Box<Self>, Problem> {
        let mut request = invocation.request;
        let http1 = run.settings().protocol == Protocol::Http1;
        let upgrade = upgrade_of(request.headers()).filter(|_| http1);
        let client = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
        let method = request.method().clone();
        let request = outgoing::prepare(request, upgrade, http1, invocation.id, trace)?;
        let progress = request.body().progress();
        let silence = Silence::new(run.timeout());
        let lease = run.lease().ok_or(Problem::new(ProblemCode::Internal))?;
        Ok(Box::new(Self {
            instance: lease.instance().clone(),
            first: lease.take_connection(),
            connections: if http1 {
                Connections::Http1(lease.attachment())
            } else {
                Connections::Http2(lease.attachment())
            },
            method,
            request,
            silence,
            progress,
            client,
        }))
    }
}

/// Sends the request to the run's instance; the response's body brings the rest.
pub(crate) async fn respond(run: Run, mut exchange: Box<Exchange>, tasks: &TaskTracker) -> Response<Body> {
    let exchanged = match &exchange.connections {
        Connections::Http1(idle) => {
            let idle = idle.clone();
            http1::exchange(&mut exchange, idle).await
        }
        Connections::Http2(shared) => {
            let shared = shared.clone();
            let exchanged = Box::pin(http2::exchange(&mut exchange, &shared)).await;
            exchanged.map(|response| (response, None))
        }
    };
    let (response, wire) = match exchanged {
        Ok(answered) => answered,
        Err(broken) => {
            return run.fail(Box::pin(diagnose(broken, &exchange.progress, &exchange.instance)).await);
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match (exchange.client.take(), wire) {
            (Some(client), Some(wire)) => {
                Box::pin(tunnel::begin(
                    run,
                    response,
                    wire,
                    client,
                    exchange.silence,
                    tasks,
                ))
                .await
            }
            _ => run.fail(bad("it switched protocols without being asked to")),
        };
    }
    answer(run, response, wire, *exchange)
}

/// The instance's response as the caller gets it.
fn answer(
    mut run: Run,
    response: Response<Incoming>,
    wire: Option<Wire>,
    exchange: Exchange,
) -> Response<Body> {
    let Exchange {
        method,
        mut silence,
        progress,
        ..
    } = exchange;
    let status = response.status();
    let (mut parts, incoming) = response.into_parts();
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    if let Some(phrase) = parts.extensions.remove::<ReasonPhrase>() {
        response.extensions_mut().insert(phrase);
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        // The chunks say where the body ends, whatever else is said of it (RFC 9112, section 6.3).
        parts.headers.remove(CONTENT_LENGTH);
    }
    *response.headers_mut() = parts.headers;
    remove_hop_by_hop(response.headers_mut());
    run.head(&mut response);
    if !has_body(&method, status) || incoming.is_end_stream() {
        if let Some(wire) = wire {
            wire.release(silence);
        }
        run.complete(status, None, Fate::Reusable);
        return response;
    }
    silence.touch();
    let body = HttpBody::new(run, incoming, wire, silence, progress, status);
    response.map(|_| body.boxed_unsync())
}

/// What is to be told when an instance gave no response.
async fn diagnose(broken: Broken, progress: &Progress, instance: &Arc<dyn Instance>) -> Failure {
    if let Some(fault) = progress.fault() {
        return Failure::new(fault.problem());
    }
    let (reason, grace) = match broken {
        Broken::Timeout => return Failure::timeout(),
        Broken::Connect(error) => {
            let reason = format!("connecting to its port {} failed: {error}", instance.port());
            (reason, EXIT_GRACE)
        }
        // It said something, so it lives, most likely.
        Broken::Http(error) if error.is_parse() => (explain(&error), PARSED_GRACE),
        Broken::Http(error) => (explain(&error), EXIT_GRACE),
    };
    match tokio::time::timeout(grace, instance.exited()).await {
        Ok(exit) => exited(exit, &reason),
        Err(_) => bad(&reason),
    }
}

fn exited(exit: skep_engine::Exit, reason: &str) -> Failure {
    let memory = if exit.out_of_memory {
        " (out of memory)"
    } else {
        ""
    };
    let internal = format!(
        "it exited with code {}{memory} before it had answered: {reason}",
        exit.code
    );
    let mut failure = Failure::new(Problem::new(ProblemCode::InstanceExited).internal(internal));
    failure.exit = Some(exit);
    failure
}

fn bad(reason: &str) -> Failure {
    let internal = format!("the instance's answer: {reason}");
    Failure::new(Problem::new(ProblemCode::BadResponse).internal(internal))
}

/// hyper says what broke in one error and why in its source.
fn explain(error: &hyper::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
