//! The gateway: what its listeners share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{HOST, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use jiff::Timestamp;
use skep_backlog::Runner;
use skep_catalogue::Catalogue;
use skep_invoke::{Body, Invocation, LocalRedirect, Report, empty};
use skep_model::{Function, Handler, InvocationId, Problem, ProblemCode, Trigger};
use skep_store::Queue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::listener::{self, Serving};
use crate::metrics::Metrics;
use crate::runner::StoredRunner;
use crate::work::Work;
use crate::workers::Workers;

/// How often a script may send the server elsewhere before it is held for a loop.
const MAX_REDIRECTS: usize = 5;

const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Takes requests in and has them run. Clones share everything.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>, Workers);

struct Inner {
    config: Config,
    catalogue: watch::Receiver<Arc<Catalogue>>,
    work: Work,
    store: Arc<dyn Queue>,
    metrics: Metrics,
}

/// By which listener a request came: it decides how a function is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// By its routes.
    Public,
    /// By its name.
    Call,
}

impl Door {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Call => "call",
        }
    }
}

/// Where a request goes.
pub(crate) struct Destination {
    pub(crate) function: Arc<Function>,
    /// How much of the path is taken off.
    pub(crate) prefix: usize,
}

impl Gateway {
    /// A gateway to what is in force.
    pub fn new(
        config: Config,
        catalogue: watch::Receiver<Arc<Catalogue>>,
        work: impl Into<Work>,
        store: impl Into<Arc<dyn Queue>>,
        metrics: Metrics,
    ) -> Self {
        let inner = Inner {
            config,
            catalogue,
            work: work.into(),
            store: store.into(),
            metrics,
        };
        Self(Arc::new(inner), Workers::default())
    }

    /// The same gateway, serving its connections on threads of their own.
    pub fn on(self, workers: Workers) -> Self {
        Self(self.0, workers)
    }

    /// Serves the public listener.
    pub fn serve(&self, listener: TcpListener) -> Serving {
        self.serve_after(listener, std::future::ready(()))
    }

    /// Serves the public listener once `known` returns: until it is known what is deployed, callers would be told
    /// that nothing is there. They wait in the listener's queue meanwhile.
    pub fn serve_after(
        &self,
        listener: TcpListener,
        known: impl Future<Output = ()> + Send + 'static,
    ) -> Serving {
        listener::serve_listener(self.clone(), listener, known)
    }

    /// Serves the connections by which functions call each other; `streams` has each with its peer's address.
    pub fn serve_calls(&self, streams: mpsc::Receiver<(TcpStream, SocketAddr)>) -> Serving {
        listener::serve_streams(self.clone(), streams)
    }

    /// What runs accepted invocations.
    pub fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(StoredRunner::new(self.clone()))
    }

    /// The function in force with this name.
    pub(crate) fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.0.catalogue.borrow().function(name).cloned()
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.1
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn work(&self) -> &Work {
        &self.0.work
    }

    pub(crate) fn store(&self) -> &dyn Queue {
        &*self.0.store
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The function that a path leads to.
    pub(crate) fn find(&self, door: Door, host: Option<&str>, path: &str) -> Result<Destination, Problem> {
        let catalogue = self.0.catalogue.borrow();
        let found = match door {
            Door::Public => catalogue
                .route(host, path)
                .map(|found| (found.function, found.prefix.len())),
            Door::Call => {
                let name = path[1..].split(['/', '?']).next().unwrap_or_default();
                catalogue
                    .function(name)
                    .map(|function| (function, name.len() + 1))
            }
        };
        let (function, matched) = found
            .ok_or_else(|| Problem::new(ProblemCode::NotFound).detail("No function has this address."))?;
        let prefix = if function.settings.strip { matched } else { 0 };
        Ok(Destination {
            function: function.clone(),
            prefix,
        })
    }

    /// Runs an invocation, and answers with what it answers; a script's local redirect is followed.
    pub(crate) async fn run(&self, invocation: Box<Invocation>, door: Door) -> Response<Body> {
        match invocation.function.settings.handler {
            Handler::Cgi => Box::pin(self.run_script(invocation, door)).await,
            Handler::Http | Handler::Exec => self.0.work.invoke(invocation).await,
        }
    }

    async fn run_script(&self, mut invocation: Box<Invocation>, door: Door) -> Response<Body> {
        let mut again = Again::of(&invocation);
        let mut parent = invocation.id;
        for _ in 0..MAX_REDIRECTS {
            let mut response = self.0.work.invoke(invocation).await;
            let Some(LocalRedirect(path)) = response.extensions_mut().remove() else {
                return response;
            };
            invocation = match again.follow(self, door, &path, parent) {
                Ok(next) => Box::new(next),
                Err(problem) => return skep_invoke::problem_response(&problem, Some(parent)),
            };
            parent = invocation.id;
        }
        let internal = format!("the script redirected the server more than {MAX_REDIRECTS} times");
        let problem = Problem::new(ProblemCode::BadResponse).internal(internal);
        skep_invoke::problem_response(&problem, Some(parent))
    }
}

/// What a local redirect needs of the request that led to it.
struct Again {
    headers: HeaderMap,
    head: bool,
    client: IpAddr,
    /// The prefix that a trusted proxy before Skep took off.
    outer: String,
}

impl Again {
    fn of(invocation: &Invocation) -> Self {
        let mut headers = invocation.request.headers().clone();
        let body_fields: Vec<HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("content-"))
            .cloned()
            .collect();
        for name in body_fields {
            headers.remove(name);
        }
        let outer = headers
            .get(PREFIX)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let head = invocation.request.method() == Method::HEAD;
        Self {
            headers,
            head,
            client: invocation.client,
            outer,
        }
    }

    fn follow(
        &mut self,
        gateway: &Gateway,
        door: Door,
        path: &str,
        parent: InvocationId,
    ) -> Result<Invocation, Problem> {
        let unusable =
            |_| Problem::new(ProblemCode::BadResponse).internal("the script's Location is no path");
        let target: PathAndQuery = path.parse().map_err(unusable)?;
        let host = self.headers.get(HOST).and_then(|host| host.to_str().ok());
        let destination = gateway.find(door, host, target.as_str())?;
        let (prefix, target) = split(&target, destination.prefix)?;
        // Where the script itself is not at the root, its own prefix is the end of what stands there.
        self.headers.remove(PREFIX);
        if let Some(outer) = self.outer.strip_suffix(prefix)
            && let Ok(value) = format!("{outer}{prefix}").parse()
        {
            self.headers.insert(PREFIX, value);
        } else if let Ok(value) = prefix.parse() {
            self.headers.insert(PREFIX, value);
        }
        let mut request = Request::new(empty());
        *request.method_mut() = if self.head { Method::HEAD } else { Method::GET };
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = self.headers.clone();
        Ok(Invocation {
            id: InvocationId::generate(),
            function: destination.function,
            parent: Some(parent),
            trigger: Trigger::Request,
            received: Timestamp::now(),
            attempts: 1,
            client: self.client,
            request,
            report: Report::Journal,
        })
    }
}

/// Takes a prefix off a path; its percent-encoding and the query stay as they are.
pub(crate) fn split(target: &PathAndQuery, prefix: usize) -> Result<(&str, PathAndQuery), Problem> {
    if prefix == 0 {
        return Ok(("", target.clone()));
    }
    let (prefix, rest) = target.as_str().split_at(prefix);
    let rest = match rest {
        "" | "/" => Ok(PathAndQuery::from_static("/")),
        _ if rest.starts_with('/') => rest.parse(),
        _ => format!("/{rest}").parse(),
    };
    let rest = rest.map_err(|_| Problem::new(ProblemCode::BadRequest).detail("The target is not a path."))?;
    Ok((prefix, rest))
}

/// Sets a request's target and body, and leaves everything else as it is.
pub(crate) fn assemble(mut parts: Parts, target: PathAndQuery, body: Body) -> Request<Body> {
    parts.uri = Uri::from(target);
    Request::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_off_and_the_rest_is_left_as_it_is() {
        let cases = [
            ("/hello", 6, "/"),
            ("/hello?a=b", 6, "/?a=b"),
            ("/hello/", 6, "/"),
            ("/hello/a%2Fb?c=%20", 6, "/a%2Fb?c=%20"),
            ("/hello//evil.example/x", 6, "//evil.example/x"),
            ("/hello/x", 0, "/hello/x"),
        ];
        for (path, prefix, rest) in cases {
            let (_, split) = split(&path.parse().unwrap(), prefix).unwrap();
            assert_eq!(split.as_str(), rest, "{path}");
        }
    }
}
