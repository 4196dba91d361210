//! What gateways ask: invocations for a sandbox, pictures of the node, and what an operator would ask.

use axum::Router;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::Incoming;
use skep_invoke::{Body as InvokeBody, BodyError, Invocation, Report, empty, problem_response};
use skep_model::{InvocationId, Problem, ProblemCode, Record, Trigger};
use skep_tls::{Body, Reply, body};
use skep_wire::{
    CONTEXT, Context, Field as _, INVOCATION, NOT_STARTED, NotStarted, PROBLEM, SANDBOX, VISIT, Visit,
    WAITING, Waiting,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::agent::Agent;
use crate::answer::Answer;
use crate::sandbox::Inside;
use crate::watching;

/// Where pictures are had.
const WATCH: &str = "/v1/watch";
/// What a gateway says of those who wait is not longer.
const LONGEST_WAITING: usize = 16 << 20;

/// Answers gateways. A clone is the same.
#[derive(Clone)]
pub struct AgentReply {
    pub(crate) agent: Agent,
    pub(crate) control: Router,
    /// Ends what would last for ever.
    pub(crate) stop: CancellationToken,
}

/// What the fields beside a request say.
struct Asked {
    invocation: InvocationId,
    context: Context,
}

impl Reply for AgentReply {
    type Body = Body;

    async fn reply(&self, mut request: Request<Incoming>) -> Response<Body> {
        if let Some(sandbox) = request.headers_mut().remove(SANDBOX) {
            let sandbox = sandbox.to_str().unwrap_or_default();
            return self.invoke(sandbox, request).await;
        }
        if let Some(visit) = request.headers_mut().remove(VISIT) {
            return self.visited(&visit, request).await;
        }
        if request.uri().path() == WATCH {
            let pictures = StreamBody::new(self.agent.pictures.follow(self.stop.clone()));
            return Response::new(body(pictures));
        }
        if request.uri().path() == WAITING {
            return self.hear(request).await.map(body);
        }
        match self
            .control
            .clone()
            .oneshot(request.map(axum::body::Body::new))
            .await
        {
            Ok(response) => response.map(body),
            Err(never) => match never {},
        }
    }
}

impl AgentReply {
    /// A call that came through a socket on another node.
    async fn visited(&self, visit: &HeaderValue, mut request: Request<Incoming>) -> Response<Body> {
        let visit = match Visit::read(visit) {
            Ok(visit) => visit,
            Err(error) => {
                let problem =
                    Problem::new(ProblemCode::BadRequest).detail(format!("The field {VISIT}: {error}."));
                return problem_response(&problem, None).map(body);
            }
        };
        if visit.making.is_some() {
            self.agent.meet(&visit.function);
        }
        skep_tls::unaddress(&mut request);
        self.agent.sockets.visited(visit, request).await
    }

    async fn invoke(&self, sandbox: &str, mut request: Request<Incoming>) -> Response<Body> {
        let asked = match asked(&mut request) {
            Ok(asked) => asked,
            Err(problem) => return problem_response(&problem, None).map(body),
        };
        let entered = match self.agent.table.get(sandbox) {
            Some(sandbox) => sandbox.enter(),
            None => Err(NotStarted::Unknown),
        };
        let inside = match entered {
            Ok(inside) => inside,
            Err(reason) => return not_started(reason),
        };
        let (sender, mut record) = oneshot::channel();
        let is_async = asked.context.trigger == Trigger::Async;
        let report = if is_async {
            Report::To(sender)
        } else {
            Report::Unstarted(sender)
        };
        let invocation = Invocation {
            id: asked.invocation,
            function: inside.sandbox().function.clone(),
            parent: asked.context.parent,
            trigger: asked.context.trigger,
            received: asked.context.received,
            attempts: asked.context.attempts,
            client: asked.context.client,
            request: request.map(incoming),
            report,
        };
        let invoker = inside.sandbox().invoker.clone();
        let response = invoker.invoke(Box::new(invocation)).await;
        let problem = response.extensions().get::<ProblemCode>().copied();
        let ended = record.try_recv().ok();
        let never_ran = ended.as_ref().is_some_and(|record| record.started.is_none());
        if never_ran && self.is_gone(&inside).await {
            return not_started(NotStarted::Unknown);
        }
        let record = match (is_async, ended) {
            (true, Some(ended)) => Some(settled(ended)),
            (true, None) => Some(record),
            (false, ended) => {
                ended
                    .into_iter()
                    .for_each(|record| self.agent.adopter.keep(record));
                None
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            inside.sandbox().hand_over();
        }
        marked(response, problem).map(|answer| body(Answer::new(answer, record, inside)))
    }

    /// A gateway says who waits there.
    async fn hear(&self, request: Request<Incoming>) -> Response<InvokeBody> {
        let read = Limited::new(request.into_body(), LONGEST_WAITING).collect().await;
        let waiting: Option<Waiting> = read
            .ok()
            .and_then(|read| serde_json::from_slice(&read.to_bytes()).ok());
        let Some(waiting) = waiting else {
            let problem = Problem::new(ProblemCode::BadRequest).detail("This does not say who waits.");
            return problem_response(&problem, None);
        };
        self.agent.pictures.waiters.hear(waiting);
        self.agent.table.changed.notify_one();
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    /// Whether the task has ended of which an instance was to be a part: that is no fault of the function's.
    async fn is_gone(&self, inside: &Inside) -> bool {
        let sandbox = inside.sandbox();
        if self.agent.table.get(&sandbox.id).is_none() {
            return true;
        }
        let runs = watching::runs(&self.agent.adopter.docker, &sandbox.id).await;
        runs == Some(false)
    }
}

/// Takes the fields that are not the function's off the request.
fn asked(request: &mut Request<Incoming>) -> Result<Asked, Problem> {
    let refused = |what: String| Problem::new(ProblemCode::BadRequest).detail(what);
    let headers = request.headers_mut();
    let (invocation, context) = (headers.remove(INVOCATION), headers.remove(CONTEXT));
    let invocation = invocation
        .as_ref()
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let invocation = invocation.ok_or_else(|| refused(format!("The field {INVOCATION} is no id.")))?;
    let context = context.ok_or_else(|| refused(format!("There is no field {CONTEXT}.")))?;
    let context =
        Context::read(&context).map_err(|error| refused(format!("The field {CONTEXT}: {error}.")))?;
    Ok(Asked { invocation, context })
}

/// A record that is there already.
fn settled(record: Record) -> oneshot::Receiver<Record> {
    let (sender, receiver) = oneshot::channel();
    // The other end is here.
    let _ = sender.send(record);
    receiver
}

/// An answer of Skep's own says so.
fn marked(mut response: Response<InvokeBody>, problem: Option<ProblemCode>) -> Response<InvokeBody> {
    skep_wire::disown_answer(response.headers_mut());
    if let Some(code) = problem {
        let value = HeaderValue::from_static(code.as_str());
        response.headers_mut().insert(PROBLEM, value);
    }
    response
}

fn incoming(incoming: Incoming) -> InvokeBody {
    incoming
        .map_err(|error| BodyError::Broken(error.to_string()))
        .boxed_unsync()
}

fn not_started(reason: NotStarted) -> Response<Body> {
    let mut response = Response::new(body(empty()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(NOT_STARTED, reason.header());
    response
}
