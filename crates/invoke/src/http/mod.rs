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

use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use skep_dispatch::Fate;
use skep_engine::Instance;
use skep_model::{Problem, ProblemCode, Protocol};
use tokio_util::task::TaskTracker;

use crate::body::{Body, empty};
use crate::headers::{remove_hop_by_hop, upgrade_of};
use crate::response::has_body;
use crate::run::{Failure, Run};
use crate::silence::Silence;
use crate::trace::Trace;
use crate::upload::Progress;
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

/// Sends the request to the run's instance; the response's body brings the rest.
pub(crate) async fn respond(
    mut run: Run,
    mut request: Request<Body>,
    trace: &Trace,
    tasks: &TaskTracker,
) -> Response<Body> {
    let http1 = run.settings().protocol == Protocol::Http1;
    let upgrade = upgrade_of(request.headers()).filter(|_| http1);
    let client = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
    let method = request.method().clone();
    let outgoing = match outgoing::prepare(request, upgrade, http1, run.id(), trace) {
        Ok(outgoing) => outgoing,
        Err(problem) => return run.fail(Failure::new(problem)),
    };
    let progress = outgoing.body().progress();
    let mut silence = Silence::new(run.timeout());
    let Some(lease) = run.lease() else {
        return run.fail(Failure::new(Problem::new(ProblemCode::Internal)));
    };
    let instance = lease.instance().clone();
    let connection = lease.take_connection();
    let exchanged = if http1 {
        let idle = lease.attachment::<http1::Idle>();
        http1::exchange(&instance, connection, idle, outgoing, &mut silence, &progress).await
    } else {
        let shared = lease.attachment::<http2::Shared>();
        let exchange = http2::exchange(&instance, connection, &shared, outgoing, &mut silence, &progress);
        Box::pin(exchange).await.map(|response| (response, None))
    };
    let (response, wire) = match exchanged {
        Ok(answered) => answered,
        Err(broken) => return run.fail(Box::pin(diagnose(broken, &progress, &instance)).await),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match (client, wire) {
            (Some(client), Some(wire)) => {
                Box::pin(tunnel::begin(run, response, wire, client, silence, tasks)).await
            }
            _ => run.fail(bad("it switched protocols without being asked to")),
        };
    }
    answer(run, response, wire, silence, progress, &method)
}

/// The instance's response as the caller gets it.
fn answer(
    mut run: Run,
    response: Response<Incoming>,
    wire: Option<Wire>,
    mut silence: Silence,
    progress: Arc<Progress>,
    method: &http::Method,
) -> Response<Body> {
    let status = response.status();
    let (parts, incoming) = response.into_parts();
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    *response.headers_mut() = parts.headers;
    remove_hop_by_hop(response.headers_mut());
    run.head(&mut response);
    if !has_body(method, status) || incoming.is_end_stream() {
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
        Broken::Timeout => return Failure::new(Problem::new(ProblemCode::Timeout)),
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
