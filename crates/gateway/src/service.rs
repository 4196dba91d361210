//! One connection's requests: each becomes an invocation, a look at one's own invocation, or a problem.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::{ALLOW, CONTENT_LENGTH, HOST, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use skep_invoke::{Body, Invocation, Report, empty, problem_response};
use skep_model::{InstanceId, InvocationId, Problem, ProblemCode, Trigger};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::forwarded::Origin;
use crate::gateway::{Door, Gateway, assemble, split};
use crate::linger::Leftover;
use crate::lookup::Address;
use crate::turn::Turn;
use crate::work::{Call, Onward};
use crate::{asynchronous, linger, lookup, parent, prefer, received, server, upload};

/// A connection and what all its requests share.
pub(crate) struct Connection {
    pub(crate) gateway: Gateway,
    pub(crate) origin: Origin,
    pub(crate) door: Door,
    /// The tasks of the listener's connections.
    pub(crate) tasks: TaskTracker,
    pub(crate) turn: Arc<Turn>,
    /// Cancelled when the listener's drain begins: an answer made from then on is the last.
    pub(crate) drain: CancellationToken,
    pub(crate) caller: Caller,
}

/// How it is known which invocation calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller {
    /// By what runs at the other end.
    Peer,
    /// Whoever brought the call vouches for it.
    Vouched(Option<InvocationId>),
}

/// What a request turned out to ask for.
enum Asked<'a> {
    Run(Box<Invocation>),
    /// To be kept, and run later.
    Keep(Box<Invocation>),
    /// Of another gateway.
    Onward(Arc<dyn Onward>, Box<Request<Body>>),
    Else(BoxFuture<'a, Result<Response<Body>, Problem>>),
}

impl Connection {
    /// Answers a request, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let id = InvocationId::generate();
        let head = request.method() == Method::HEAD;
        // On HTTP/2 what is not read of a body must not reset the stream under the answer, whatever that is.
        let version = request.version();
        let unread = version == Version::HTTP_2 && !request.body().is_end_stream();
        let leftover = unread.then(|| Leftover::new(self.tasks.clone()));
        let answered = self.respond(id, request, leftover.clone()).await;
        let response = answered.unwrap_or_else(|problem| {
            self.gateway.work().metrics().problem(problem.code);
            if let Some(internal) = &problem.internal {
                tracing::warn!(invocation = %id, code = problem.code.as_str(), internal, "a request was refused");
            }
            let mut response = problem_response(&problem, Some(id));
            let unreadable = matches!(problem.code, ProblemCode::BadRequest | ProblemCode::AmbiguousRequest);
            if unreadable && version != Version::HTTP_2 {
                // What comes behind it might be read in two ways as well.
                server::close_after(&mut response);
            }
            response
        });
        let response = if head { without_body(response) } else { response };
        match leftover {
            Some(leftover) => linger::hold(response, leftover),
            None => response,
        }
    }

    async fn respond(
        &self,
        id: InvocationId,
        request: Request<Incoming>,
        leftover: Option<Arc<Leftover>>,
    ) -> Result<Response<Body>, Problem> {
        let mut asked = self.read(id, request, leftover)?;
        if let Asked::Run(invocation) | Asked::Keep(invocation) = &mut asked
            && self.door == Door::Call
        {
            let headers = invocation.request.headers();
            invocation.parent = self.parent(headers).boxed().await;
        }
        match asked {
            Asked::Run(invocation) => Ok(self.gateway.run(invocation, self.door).await),
            Asked::Keep(invocation) => {
                let kept = asynchronous::accept(&self.gateway, *invocation, self.door);
                kept.boxed().await
            }
            Asked::Onward(onward, request) => {
                let call = Call {
                    parent: self.parent(request.headers()).boxed().await,
                    request: *request,
                    address: self.origin.peer(),
                    port: self.origin.local_port(),
                };
                Ok(onward.call(call).await)
            }
            Asked::Else(answered) => answered.await,
        }
    }

    /// What a request asks for. All that is there for a moment only is gone before anything is waited for.
    fn read(
        &self,
        id: InvocationId,
        request: Request<Incoming>,
        leftover: Option<Arc<Leftover>>,
    ) -> Result<Asked<'_>, Problem> {
        let received = Timestamp::now();
        let (mut parts, incoming) = request.into_parts();
        let config = self.gateway.config();
        let body = upload::bounded(incoming, config.max_body, config.body_timeout, leftover);
        received::check(&mut parts, self.turn.is_ambiguous())?;
        if parts.uri.path() == "*" {
            return Ok(Asked::Else(async { Ok(options()) }.boxed()));
        }
        if let Some(onward) = self.gateway.work().onward() {
            let request = Request::from_parts(parts, body);
            return Ok(Asked::Onward(onward.clone(), Box::new(request)));
        }
        let target = parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or(PathAndQuery::from_static("/"));
        if let Some(rest) = target.path().strip_prefix("/_skep/") {
            let address = Address::parse(rest)?;
            let looked = async move { lookup::respond(&self.gateway, &parts.method, address).await };
            return Ok(Asked::Else(looked.boxed()));
        }
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let destination = self.gateway.find(self.door, host, target.as_str())?;
        received::check_length(&parts.headers, config.max_body)?;
        let (prefix, target) = split(&target, destination.prefix)?;
        let client = self
            .origin
            .apply(&mut parts.headers, prefix, &config.trusted_proxies);
        let asynchronous = self.is_asynchronous(&parts, destination.function.settings.asynchronous);
        let invocation = Box::new(Invocation {
            id,
            function: destination.function,
            parent: None,
            trigger: if asynchronous {
                Trigger::Async
            } else {
                Trigger::Request
            },
            received,
            attempts: 1,
            client,
            request: assemble(parts, target, body),
            report: Report::Journal,
        });
        Ok(if asynchronous {
            Asked::Keep(invocation)
        } else {
            Asked::Run(invocation)
        })
    }

    /// The public may ask where the function allows it; other functions always.
    fn is_asynchronous(&self, parts: &Parts, allowed: bool) -> bool {
        (allowed || self.door == Door::Call) && prefer::respond_async(&parts.headers)
    }

    async fn parent(&self, headers: &HeaderMap) -> Option<InvocationId> {
        if let Caller::Vouched(parent) = self.caller {
            return parent;
        }
        let peer = self.origin.peer();
        // A command may call before the engine has told where it runs.
        let calls = |instance: InstanceId, invocation: Option<InvocationId>| {
            peer == instance.stand_in() || invocation.is_some_and(|id| parent::claims(headers, id))
        };
        let mut running = Vec::new();
        for dispatcher in self.gateway.work().dispatchers() {
            dispatcher.launched(calls).await;
            running.extend(dispatcher.invocations_at(peer));
        }
        parent::of(headers, &running)
    }
}

/// `OPTIONS *` asks about the server, not about a function.
fn options() -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// What a HEAD gets: the header alone. HTTP/1 would leave the body out by itself, HTTP/2 does not.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    if let Some(length) = response.body().size_hint().exact() {
        response
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(length.into());
    }
    response.map(|_| empty())
}
