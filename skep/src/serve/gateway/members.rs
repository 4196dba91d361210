//! What agents ask of a gateway: the calls of their nodes' functions, what is deployed, and what children may have.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use skep_catalogue::Catalogue;
use skep_cluster::Children;
use skep_gateway::Brought;
use skep_invoke::{empty, full, problem_response};
use skep_model::{Problem, ProblemCode};
use skep_tls::{Body, Reply, body};
use skep_wire::{CALLER, CLAIMS, Caller, Claim, Field as _, HOLDERS, NAMES, VISIT, Visit, WANTED};
use tokio::sync::watch;

/// Answers agents. A clone is the same.
#[derive(Clone)]
pub(super) struct Members {
    pub(super) catalogue: watch::Receiver<Arc<Catalogue>>,
    pub(super) calls: Brought,
    pub(super) children: Children,
}

/// A claim is not longer.
const LONGEST_CLAIM: usize = 64 << 10;

impl Members {
    /// Invalid ones too: they are there, and may be valid again at any time.
    fn names(&self) -> Response<skep_invoke::Body> {
        let catalogue = self.catalogue.borrow().clone();
        let valid = catalogue.functions().map(|function| function.name.to_string());
        let invalid = catalogue.invalid().iter().map(|invalid| invalid.name.clone());
        let names: Vec<String> = valid.chain(invalid).collect();
        Response::new(full(serde_json::json!(names).to_string()))
    }
}

impl Members {
    /// What a function's children have on a node, and whether they may.
    async fn claim(&self, request: Request<Incoming>) -> Response<skep_invoke::Body> {
        let read = Limited::new(request.into_body(), LONGEST_CLAIM).collect().await;
        let claim = read.ok().and_then(|read| {
            let claim: Option<Claim> = serde_json::from_slice(&read.to_bytes()).ok();
            claim
        });
        let Some(claim) = claim else {
            let problem = Problem::new(ProblemCode::BadRequest).detail("This is no claim.");
            return problem_response(&problem, None);
        };
        let asks_where = claim.place.is_some();
        let (status, said) = match self.children.claim(claim).await {
            Ok(agreed) if asks_where => (StatusCode::OK, full(serde_json::json!(agreed).to_string())),
            Ok(_) => (StatusCode::NO_CONTENT, empty()),
            Err(said) => (StatusCode::TOO_MANY_REQUESTS, full(said)),
        };
        let mut response = Response::new(said);
        *response.status_mut() = status;
        response
    }
}

impl Members {
    /// A function of which there may be no sandbox.
    async fn begin(&self, function: &str) -> Response<skep_invoke::Body> {
        let (status, said) = match self.children.begin(function).await {
            Ok(()) => (StatusCode::NO_CONTENT, empty()),
            Err(said) => (StatusCode::SERVICE_UNAVAILABLE, full(said)),
        };
        let mut response = Response::new(said);
        *response.status_mut() = status;
        response
    }
}

impl Members {
    /// A call about children of another node.
    async fn visit(&self, visit: &HeaderValue, request: Request<Incoming>) -> Response<skep_invoke::Body> {
        match Visit::read(visit) {
            Ok(visit) => self.children.visit(visit, request).await,
            Err(error) => {
                let problem =
                    Problem::new(ProblemCode::BadRequest).detail(format!("The field {VISIT}: {error}."));
                problem_response(&problem, None)
            }
        }
    }
}

impl Reply for Members {
    type Body = Body;

    async fn reply(&self, mut request: Request<Incoming>) -> Response<Body> {
        let caller = request.headers_mut().remove(CALLER);
        if caller.is_none() && request.uri().path() == NAMES {
            return self.names().map(body);
        }
        if caller.is_none() && request.uri().path() == CLAIMS {
            return self.claim(request).await.map(body);
        }
        if caller.is_none()
            && let Some(function) = request.uri().path().strip_prefix(HOLDERS)
        {
            let holders = self.children.holders(function.trim_start_matches('/'));
            return Response::new(full(serde_json::json!(holders).to_string())).map(body);
        }
        if caller.is_none()
            && let Some(function) = request.uri().path().strip_prefix(WANTED)
        {
            return self.begin(function.trim_start_matches('/')).await.map(body);
        }
        // With a caller it is a function's own request, whatever it says.
        if caller.is_none()
            && let Some(visit) = request.headers_mut().remove(VISIT)
        {
            return self.visit(&visit, request).await.map(body);
        }
        let caller = caller.ok_or_else(|| format!("There is no field {CALLER}."));
        let caller = caller
            .and_then(|value| Caller::read(&value).map_err(|error| format!("The field {CALLER}: {error}.")));
        let caller = match caller {
            Ok(caller) => caller,
            Err(detail) => {
                let problem = Problem::new(ProblemCode::BadRequest).detail(detail);
                return problem_response(&problem, None).map(body);
            }
        };
        skep_tls::unaddress(&mut request);
        let answer = self
            .calls
            .answer(request, caller.parent, caller.address, caller.port);
        answer.await.map(body)
    }
}
