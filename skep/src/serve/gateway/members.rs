//! What agents ask of a gateway: the calls of their nodes' functions, and what is deployed.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use skep_catalogue::Catalogue;
use skep_gateway::Brought;
use skep_invoke::{full, problem_response};
use skep_model::{Problem, ProblemCode};
use skep_tls::{Body, Reply, body};
use skep_wire::{CALLER, Caller, NAMES};
use tokio::sync::watch;

/// Answers agents. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Members {
    pub(super) catalogue: watch::Receiver<Arc<Catalogue>>,
    pub(super) calls: Brought,
}

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

impl Reply for Members {
    type Body = Body;

    async fn reply(&self, mut request: Request<Incoming>) -> Response<Body> {
        let caller = request.headers_mut().remove(CALLER);
        if caller.is_none() && request.uri().path() == NAMES {
            return self.names().map(body);
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
