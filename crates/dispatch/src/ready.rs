//! Waiting until an `http` instance accepts work, and saying why when it never does.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use skep_engine::{Exit, Instance, Listener};
use skep_model::{Function, Problem, ProblemCode, Protocol, Ready};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::logs::Attribution;

/// Between the first attempts to connect; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);
/// One attempt that gets no answer is given up after this long.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How often one looks where an instance listens that can't be connected to.
const LOOK: Duration = Duration::from_millis(250);
/// How long the last look may take.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How long the last words of an instance that ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// The most header fields that an instance's answer may have.
pub const MAX_FIELDS: usize = 500;
/// Where debuggers listen (Delve, Java, Python, Node), before the program that they watch does anything.
const DEBUGGERS: [u16; 6] = [2345, 5005, 5678, 9222, 9229, 9230];

/// Waits until the instance accepts work. The connection that proved it is handed over where it was not used.
pub(crate) async fn wait(
    instance: &Arc<dyn Instance>,
    function: &Function,
    logs: &Attribution,
    elsewhere_after: Duration,
) -> Result<Option<TcpStream>, Problem> {
    let settings = &function.settings;
    let deadline = Instant::now() + settings.timeout;
    let refused = &AtomicBool::new(false);
    tokio::select! {
        biased;
        connection = accept(instance, function, refused) => Ok(connection),
        exit = instance.exited() => Err(ended(exit, logs).await),
        problem = watch_listeners(instance, function, elsewhere_after, refused) => Err(problem),
        () = sleep_until(deadline) => Err(late(instance, function, logs, refused).await),
    }
}

/// Connects until that is accepted; `refused` says whether it last was not.
async fn accept(
    instance: &Arc<dyn Instance>,
    function: &Function,
    refused: &AtomicBool,
) -> Option<TcpStream> {
    let mut pause = FIRST_PAUSE;
    loop {
        let connected = timeout(ATTEMPT, instance.connect()).await;
        let now = matches!(&connected, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused);
        refused.store(now, Ordering::Relaxed);
        if let Ok(Ok(stream)) = connected {
            let Ready::Path(path) = &function.settings.ready else {
                return Some(stream);
            };
            let protocol = function.settings.protocol;
            let answer = timeout(ATTEMPT, answers(stream, protocol, path, instance.port())).await;
            if matches!(answer, Ok(Ok(true))) {
                return None;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Whether a GET of the path is answered with 2xx.
async fn answers(stream: TcpStream, protocol: Protocol, path: &str, port: u16) -> Result<bool, hyper::Error> {
    let io = TokioIo::new(stream);
    let host = format!("localhost:{port}");
    let (target, executor) = (format!("http://{host}{path}"), TokioExecutor::new());
    let request = |target: &str| {
        let builder = Request::get(target).header(http::header::USER_AGENT, "skep-ready");
        match protocol {
            Protocol::Http1 => builder.header(http::header::HOST, &host),
            Protocol::H2c => builder,
        }
        .body(Empty::<Bytes>::new())
    };
    match protocol {
        Protocol::Http1 => {
            let handshake = http1::Builder::new().max_headers(MAX_FIELDS).handshake(io);
            let (mut sender, connection) = handshake.await?;
            let Ok(request) = request(path) else {
                return Ok(false);
            };
            let (mut connection, mut answer) = (pin!(connection), pin!(sender.send_request(request)));
            tokio::select! {
                answer = &mut answer => answer.map(|answer| answer.status().is_success()),
                closed = &mut connection => closed.map(|()| false),
            }
        }
        Protocol::H2c => {
            let (mut sender, connection) = http2::handshake(executor, io).await?;
            let Ok(request) = request(&target) else {
                return Ok(false);
            };
            let (mut connection, mut answer) = (pin!(connection), pin!(sender.send_request(request)));
            tokio::select! {
                answer = &mut answer => answer.map(|answer| answer.status().is_success()),
                closed = &mut connection => closed.map(|()| false),
            }
        }
    }
}

/// Ends when the instance has listened in the wrong place, and only there, for `patience`. Some open their own port
/// later than another: a debugger's comes first, and one whose template names the path that says "ready" may do so
/// for anything (its figures, its administration). Those have half of the time that there is.
async fn watch_listeners(
    instance: &Arc<dyn Instance>,
    function: &Function,
    patience: Duration,
    refused: &AtomicBool,
) -> Problem {
    let settings = &function.settings;
    let long = patience.max(settings.timeout / 2);
    let mut since: Option<(Vec<Listener>, Instant)> = None;
    loop {
        sleep(LOOK).await;
        let listeners = listeners_of(instance).await;
        let unchanged = since
            .as_ref()
            .filter(|(before, _)| *before == listeners)
            .map(|(_, since)| *since);
        let first = unchanged.unwrap_or_else(Instant::now);
        let debugger = |listener: &Listener| DEBUGGERS.contains(&listener.address.port());
        let more_may_come = matches!(settings.ready, Ready::Path(_)) || listeners.iter().all(debugger);
        let patience = if more_may_come && !own_port(&listeners, instance.port()) {
            long
        } else {
            patience
        };
        if first.elapsed() >= patience
            && let Some(problem) = elsewhere(&listeners, instance.port(), refused.load(Ordering::Relaxed))
        {
            return problem;
        }
        since = Some((listeners, first));
    }
}

async fn listeners_of(instance: &Arc<dyn Instance>) -> Vec<Listener> {
    let mut listeners = instance.listeners().await;
    listeners.sort_by_key(|listener| listener.address);
    listeners
}

fn own_port(listeners: &[Listener], port: u16) -> bool {
    listeners.iter().any(|listener| listener.address.port() == port)
}

/// What to tell somebody whose instance listens, and not where it should.
fn elsewhere(listeners: &[Listener], port: u16, refused: bool) -> Option<Problem> {
    let problem = Problem::new(ProblemCode::ListensElsewhere);
    if own_port(listeners, port) {
        let own = listeners.iter().map(|listener| listener.address);
        let own: Vec<SocketAddr> = own.filter(|address| address.port() == port).collect();
        let everywhere = |address: &SocketAddr| address.ip().to_canonical() == Ipv4Addr::UNSPECIFIED;
        let why = if own.iter().all(|address| address.ip().is_loopback()) {
            "where nothing outside its container reaches it"
        } else if !refused || own.iter().any(everywhere) {
            return None;
        } else if own.iter().any(SocketAddr::is_ipv6) {
            "over IPv6 alone (IPV6_V6ONLY), and Skep's connections are refused there"
        } else {
            "where Skep's connections do not arrive"
        };
        let own = own.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        let own = own.join(" and ");
        return Some(problem.detail(format!(
            "The instance listens on {own} only, {why}: have it listen on 0.0.0.0:{port}."
        )));
    }
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.address.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    let first = *ports.first()?;
    let all = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" and ");
    Some(problem.detail(format!(
        "The instance listens on port {all}, not on {port}: \
         set the label skep.port={first}, or have it listen on the port in the variable PORT."
    )))
}

/// The instance ended first.
async fn ended(exit: Exit, logs: &Attribution) -> Problem {
    // Its last words come by another way than its exit.
    let _ = timeout(LAST_WORDS, logs.closed()).await;
    let problem = Problem::new(ProblemCode::InstanceExited);
    let (told, why) = if exit.out_of_memory {
        (
            "The instance was ended for want of memory before it was ready.",
            ", out of memory",
        )
    } else if exit.code == 0 {
        // Most often the label was forgotten: without one a function is a server.
        (
            "The instance ended by itself before it was ready: a command that runs once for each request needs the label \
             skep.handler=exec.",
            "",
        )
    } else {
        ("The instance ended before it was ready.", "")
    };
    problem.detail(told).exit_code(exit.code).internal(format!(
        "ended with exit code {}{why} before it was ready; {}",
        exit.code,
        last_lines(logs)
    ))
}

fn last_lines(logs: &Attribution) -> String {
    let words = logs.tail();
    if words.is_empty() {
        "it wrote nothing".to_owned()
    } else {
        format!("last lines: {words}")
    }
}

/// The time is over.
async fn late(
    instance: &Arc<dyn Instance>,
    function: &Function,
    logs: &Attribution,
    refused: &AtomicBool,
) -> Problem {
    let listeners = timeout(LAST_LOOK, listeners_of(instance))
        .await
        .unwrap_or_default();
    if let Some(problem) = elsewhere(&listeners, instance.port(), refused.load(Ordering::Relaxed)) {
        return problem;
    }
    let waited = function.settings.timeout;
    let missing = match (&function.settings.ready, own_port(&listeners, instance.port())) {
        (Ready::Path(path), true) => format!("GET {path} did not answer 2xx"),
        _ => format!(
            "nothing accepted a connection on port {} (which the variable PORT says, or the label skep.port)",
            instance.port()
        ),
    };
    Problem::new(ProblemCode::NotReady)
        .detail("The instance did not accept work within the function's skep.timeout.")
        .internal(format!("{missing} within {waited:?}; {}", last_lines(logs)))
}
