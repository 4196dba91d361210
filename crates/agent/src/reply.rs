//! What gateways ask: invocations for a sandbox, pictures of the node, and what an operator would ask.

use axum::Router;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use skep_invoke::{Body as InvokeBody, BodyError, Invocation, Report, empty, problem_response};
use skep_model::{InvocationId, Problem, ProblemCode, Trigger};
use skep_tls::{Body, Reply, body};
use skep_wire::{CONTEXT, Context, INVOCATION, NOT_STARTED, NotStarted, SANDBOX};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::answer::Answer;
use crate::picture::Pictures;
use crate::table::Table;

/// Where pictures are had.
const WATCH: &str = "/v1/watch";

/// Answers gateways. A clone is the same.
#[derive(Clone)]
pub struct AgentReply {
    pub(crate) table: Table,
    pub(crate) pictures: Pictures,
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
        if request.uri().path() == WATCH {
            let pictures = StreamBody::new(self.pictures.follow(self.stop.clone()));
            return Response::new(body(pictures));
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
    async fn invoke(&self, sandbox: &str, mut request: Request<Incoming>) -> Response<Body> {
        let asked = match asked(&mut request) {
            Ok(asked) => asked,
            Err(problem) => return problem_response(&problem, None).map(body),
        };
        let entered = match self.table.get(sandbox) {
            Some(sandbox) => sandbox.enter(),
            None => Err(NotStarted::Unknown),
        };
        let inside = match entered {
            Ok(inside) => inside,
            Err(reason) => return not_started(reason),
        };
        let (report, record) = match asked.context.trigger {
            Trigger::Request => (Report::Journal, None),
            Trigger::Async => {
                let (report, record) = oneshot::channel();
                (Report::To(report), Some(record))
            }
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
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            inside.sandbox().hand_over();
        }
        response.map(|answer| body(Answer::new(answer, record, inside)))
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
    let context = Context::read(&context).map_err(|error| refused(error.to_string()))?;
    Ok(Asked { invocation, context })
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
