//! What agents ask of a gateway: the calls of their nodes' functions.

use http::{Request, Response};
use hyper::body::Incoming;
use skep_gateway::Brought;
use skep_invoke::problem_response;
use skep_model::{Problem, ProblemCode};
use skep_tls::{Body, Reply, body};
use skep_wire::{CALLER, Caller};

/// Answers agents. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Members {
    pub(super) calls: Brought,
}

impl Reply for Members {
    type Body = Body;

    async fn reply(&self, mut request: Request<Incoming>) -> Response<Body> {
        let caller = request.headers_mut().remove(CALLER);
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
