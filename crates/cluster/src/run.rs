//! One invocation on its way: a place for it, its request to the agent there, the answer back; elsewhere once more where
//! nothing of it has begun.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{EXPECT, HOST};
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use skep_invoke::{Body, Invocation, Replay, remove_hop_by_hop, upgrade_of};
use skep_model::{Function, Problem, ProblemCode, Trigger};
use skep_wire::{AGENT_NAME, CONTEXT, Context, Field as _, INVOCATION, NOT_STARTED, SANDBOX};
use tokio::time::{Instant, timeout_at};

use crate::answer;
use crate::course::Course;
use crate::pool::{Arrival, Placement};
use crate::shared::{Shared, Ticket};
use crate::tunnel;

/// After so many refusals one after the other something is wrong that trying does not mend.
const MOST_TRIES: usize = 64;

/// What is sent, to whichever agent.
pub(crate) struct Outgoing {
    parts: Parts,
    body: Replay,
    context: HeaderValue,
    /// The protocol that the caller asks for.
    upgrade: Option<HeaderValue>,
}

/// What an attempt came to.
pub(crate) enum Attempt {
    Answered(Response<Incoming>, Ticket),
    /// Nothing of it began there.
    NotStarted,
    Failed(Problem),
}

/// Runs an invocation, and answers with what it answers.
pub(crate) async fn run(shared: Arc<Shared>, mut invocation: Box<Invocation>) -> Response<Body> {
    let mut course = Course::begin(shared.clone(), &mut invocation);
    let function = invocation.function.clone();
    let background = invocation.trigger == Trigger::Async;
    let deadline = Instant::now() + function.settings.timeout;
    let client = upgrade_of(invocation.request.headers())
        .is_some()
        .then(|| hyper::upgrade::on(&mut invocation.request));
    let outgoing = Outgoing::new(*invocation);
    let mut arrival = shared.arrive(&function, background);
    for _ in 0..MOST_TRIES {
        let placement = match placed(&shared, &mut course, arrival, deadline, background, &function).await {
            Ok(placement) => placement,
            Err(problem) => return course.fail(&problem),
        };
        let ticket = Ticket::new(shared.clone(), function.name.clone(), placement);
        if let Some(client) = client {
            return tunnel::run(shared, course, outgoing, ticket, client, &function).await;
        }
        match attempt(&shared, &mut course, &outgoing, ticket).await {
            Attempt::Answered(response, ticket) => {
                outgoing.body.settle();
                return answer::pass_on(course, response, ticket, outgoing.body, &shared.tasks);
            }
            Attempt::NotStarted => {
                course.refused();
                arrival = shared.again(&function.name, background);
            }
            Attempt::Failed(problem) => return course.fail(&problem),
        }
    }
    let internal = format!("{MOST_TRIES} sandboxes refused it one after the other");
    course.fail(
        &Problem::new(ProblemCode::NodeFull)
            .internal(internal)
            .retry_after(1),
    )
}

/// Waits for a place. What it waits for says where the time went.
async fn placed(
    shared: &Shared,
    course: &mut Course,
    arrival: Arrival,
    deadline: Instant,
    background: bool,
    function: &Function,
) -> Result<Placement, Problem> {
    let (place, cold) = match arrival {
        Arrival::Placed(placement) => {
            course.phases().queue.get_or_insert(Duration::ZERO);
            return Ok(placement);
        }
        Arrival::Full(limit) => {
            return Err(Problem::new(ProblemCode::QueueFull)
                .detail(format!("{limit} requests wait already, the most that may."))
                .retry_after(1));
        }
        Arrival::Waits { place, cold } => (place, cold),
    };
    let began = Instant::now();
    // What was accepted waits for as long as it takes: nobody else does.
    let waited = if background {
        Ok(place.await)
    } else {
        timeout_at(deadline, place).await
    };
    let phase = if cold {
        &mut course.phases().sandbox
    } else {
        &mut course.phases().queue
    };
    *phase = Some(phase.unwrap_or_default() + began.elapsed());
    match waited {
        Ok(Ok(placement)) => Ok(placement),
        Ok(Err(_)) => Err(Problem::new(ProblemCode::Draining)),
        Err(_) if cold => {
            let unusable = shared.unusable(function);
            let why = if unusable.is_empty() {
                let service = crate::sandbox::name(function);
                format!("the Swarm has not started a sandbox in time: docker service ps {service}")
            } else {
                format!("no node with a sandbox can run it: {}", unusable.join("; "))
            };
            Err(Problem::new(ProblemCode::QueueTimeout).internal(why))
        }
        Err(_) => Err(Problem::new(ProblemCode::QueueTimeout)),
    }
}

/// Waits for a place as an invocation would, and gives it back: then there is a sandbox.
pub(crate) async fn begin(shared: Arc<Shared>, function: &Function) -> Result<(), String> {
    let deadline = Instant::now() + function.settings.timeout;
    let placement = match shared.arrive(function, false) {
        Arrival::Placed(placement) => placement,
        Arrival::Full(limit) => return Err(format!("{limit} wait for one already, the most that may")),
        Arrival::Waits { place, .. } => {
            let waited = timeout_at(deadline, place).await.ok().and_then(Result::ok);
            waited.ok_or_else(|| {
                let service = crate::sandbox::name(function);
                tracing::warn!(function = %function.name, "a child of it waited in vain: docker service ps {service}");
                "the Swarm has not started one in time".to_owned()
            })?
        }
    };
    drop(Ticket::new(shared, function.name.clone(), placement));
    Ok(())
}

impl Outgoing {
    fn new(invocation: Invocation) -> Self {
        let context = Context {
            parent: invocation.parent,
            trigger: invocation.trigger,
            received: invocation.received,
            attempts: invocation.attempts,
            client: invocation.client,
        };
        let id = invocation.id;
        let (mut parts, body) = invocation.request.into_parts();
        let upgrade = upgrade_of(&parts.headers);
        remove_hop_by_hop(&mut parts.headers);
        skep_wire::disown_request(&mut parts.headers);
        // The gateway says `100 Continue` itself, as soon as the body is asked for.
        parts.headers.remove(EXPECT);
        if !parts.headers.contains_key(HOST)
            && let Some(authority) = parts.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            parts.headers.insert(HOST, host);
        }
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            parts.headers.insert(INVOCATION, value);
        }
        Self {
            parts,
            body: Replay::new(body),
            context: context.header(),
            upgrade,
        }
    }

    /// The request to one agent; `None` where its body was read in part and is not whole any more.
    fn request(&self, sandbox: &str) -> Option<Result<Request<skep_tls::Body>, Problem>> {
        let body = self.body.send()?;
        let mut request = Request::new(skep_tls::body(body));
        *request.method_mut() = self.parts.method.clone();
        *request.headers_mut() = self.parts.headers.clone();
        let headers = request.headers_mut();
        headers.insert(CONTEXT, self.context.clone());
        if let Ok(value) = HeaderValue::from_str(sandbox) {
            headers.insert(SANDBOX, value);
        }
        *request.uri_mut() = self.parts.uri.clone();
        if let Some(protocol) = &self.upgrade {
            skep_tls::address_upgrade(&mut request, AGENT_NAME, protocol.clone());
            return Some(Ok(request));
        }
        let addressed = skep_tls::address(&mut request, AGENT_NAME).map_err(|error| {
            Problem::new(ProblemCode::BadRequest)
                .detail("The request's target can't be passed on.")
                .internal(error.to_string())
        });
        Some(addressed.map(|()| request))
    }

    /// The same, where a second sending is out of the question.
    pub(crate) fn once(&self, sandbox: &str) -> Result<Request<skep_tls::Body>, Problem> {
        self.request(sandbox).unwrap_or_else(|| Err(spent()))
    }

    /// The problem that the caller itself caused, where it did.
    pub(crate) fn fault(&self) -> Option<Problem> {
        self.body.fault().map(|fault| fault.problem())
    }
}

fn spent() -> Problem {
    Problem::new(ProblemCode::NodeFull)
        .internal("a sandbox refused it, and its body is too large to be sent once more")
        .retry_after(1)
}

async fn attempt(shared: &Shared, course: &mut Course, outgoing: &Outgoing, ticket: Ticket) -> Attempt {
    let Some((address, line)) = shared.line(ticket.placement.node) else {
        ticket.refused(None);
        return Attempt::NotStarted;
    };
    let request = match outgoing.request(&ticket.placement.sandbox) {
        Some(Ok(request)) => request,
        Some(Err(problem)) => return Attempt::Failed(problem),
        None => return Attempt::Failed(spent()),
    };
    course.sent(&ticket.placement);
    match line.send(request).await {
        Ok(response) => match response.headers().get(NOT_STARTED) {
            Some(reason) => {
                let reason = reason.to_str().ok().and_then(|text| text.parse().ok());
                ticket.refused(reason);
                Attempt::NotStarted
            }
            None => Attempt::Answered(response, ticket),
        },
        Err(error) => {
            if let Some(problem) = outgoing.fault() {
                return Attempt::Failed(problem);
            }
            if skep_tls::was_not_sent(&error) {
                ticket.refused(None);
                return Attempt::NotStarted;
            }
            let invocation = course.id();
            tracing::warn!(%invocation, %address, %error, "the node was lost before it answered");
            Attempt::Failed(lost(&error))
        }
    }
}

/// What is told of work that was on its way when its node went.
pub(crate) fn lost(error: &hyper::Error) -> Problem {
    let source = error
        .source()
        .map_or(String::new(), |source| format!(": {source}"));
    Problem::new(ProblemCode::NodeLost)
        .internal(format!("the connection to its agent broke: {error}{source}"))
}
