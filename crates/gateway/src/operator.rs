//! Invoking a function by its name on an operator's behalf, past its routes: what the control listener hands on.

use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, Response};
use jiff::Timestamp;
use skep_invoke::{Body, Invocation, Report, problem_response};
use skep_model::{InvocationId, Problem, ProblemCode, Trigger};

use crate::forwarded::Origin;
use crate::gateway::{Door, Gateway};
use crate::{asynchronous, prefer, received};

impl Gateway {
    /// Invokes a function. The request's path is the one that the function sees; `Prefer: respond-async` is always
    /// honoured. Upgrades are not: what comes this way is no connection of its own.
    pub async fn invoke(&self, function: &str, request: Request<Body>) -> Response<Body> {
        let id = InvocationId::generate();
        self.invoke_as(id, function, request)
            .await
            .unwrap_or_else(|problem| {
                self.work().metrics().problem(problem.code);
                problem_response(&problem, Some(id))
            })
    }

    async fn invoke_as(
        &self,
        id: InvocationId,
        function: &str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Problem> {
        let (mut parts, body) = request.into_parts();
        received::check(&mut parts, false)?;
        skep_invoke::remove_hop_by_hop(&mut parts.headers);
        let function = self.function(function).ok_or_else(|| {
            Problem::new(ProblemCode::NotFound).detail(format!("No function is named {function}."))
        })?;
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let proxies = &self.config().trusted_proxies;
        let client = Origin::new(here, here, proxies).apply(&mut parts.headers, "", proxies);
        let asynchronous = prefer::respond_async(&parts.headers);
        let invocation = Invocation {
            id,
            function,
            parent: None,
            trigger: if asynchronous {
                Trigger::Async
            } else {
                Trigger::Request
            },
            received: Timestamp::now(),
            attempts: 1,
            client,
            request: Request::from_parts(parts, body),
            report: Report::Journal,
        };
        if asynchronous {
            return asynchronous::accept(self, invocation, Door::Call).await;
        }
        Ok(self.run(Box::new(invocation), Door::Call).await)
    }
}
