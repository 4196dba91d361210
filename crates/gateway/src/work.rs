//! Who runs an invocation: the invoker of this process, or whoever has it run on other nodes. And where it is not even
//! known what is deployed, on a node of a Swarm: who answers calls there.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, Response};
use skep_dispatch::Dispatcher;
use skep_invoke::{Body, Invocation, Invoker, Metrics, problem_response};
use skep_model::{InvocationId, Problem, ProblemCode};

/// Has invocations run elsewhere than in this process.
pub trait Elsewhere: Send + Sync + 'static {
    /// Runs one, as an invoker does: it ends with the response's body, and dropping either ends it early.
    fn invoke(&self, invocation: Box<Invocation>) -> BoxFuture<'_, Response<Body>>;

    /// What is counted.
    fn metrics(&self) -> &Metrics;
}

/// A call of a function's, read and checked, as it came in.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request<Body>,
    /// The invocation that calls, where that is known.
    pub parent: Option<InvocationId>,
    /// The address that it calls from.
    pub address: IpAddr,
    /// The port that it calls.
    pub port: u16,
}

/// Answers functions' calls where nobody knows what is deployed: brings them to a gateway.
pub trait Onward: Send + Sync + 'static {
    /// Answers one.
    fn call(&self, call: Call) -> BoxFuture<'_, Response<Body>>;

    /// Who knows which invocation runs at which address here.
    fn dispatchers(&self) -> Vec<Dispatcher>;

    /// What is counted.
    fn metrics(&self) -> &Metrics;
}

/// What runs a gateway's invocations. A clone is the same.
#[derive(Clone)]
pub enum Work {
    /// This process.
    Here(Invoker),
    /// Other nodes.
    Elsewhere(Arc<dyn Elsewhere>),
    /// Another gateway, which gets calls as they are.
    Onward(Arc<dyn Onward>),
}

impl From<Invoker> for Work {
    fn from(invoker: Invoker) -> Self {
        Self::Here(invoker)
    }
}

impl Work {
    pub(crate) async fn invoke(&self, invocation: Box<Invocation>) -> Response<Body> {
        match self {
            Self::Here(invoker) => invoker.invoke(invocation).await,
            Self::Elsewhere(elsewhere) => elsewhere.invoke(invocation).await,
            Self::Onward(_) => problem_response(&Problem::new(ProblemCode::NotFound), Some(invocation.id)),
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        match self {
            Self::Here(invoker) => invoker.metrics(),
            Self::Elsewhere(elsewhere) => elsewhere.metrics(),
            Self::Onward(onward) => onward.metrics(),
        }
    }

    /// Who know which invocation runs at which address, where they run here.
    pub(crate) fn dispatchers(&self) -> Vec<Dispatcher> {
        match self {
            Self::Here(invoker) => vec![invoker.dispatcher().clone()],
            Self::Elsewhere(_) => Vec::new(),
            Self::Onward(onward) => onward.dispatchers(),
        }
    }

    /// Who answers calls, where that is not for this process.
    pub(crate) fn onward(&self) -> Option<&Arc<dyn Onward>> {
        match self {
            Self::Onward(onward) => Some(onward),
            Self::Here(_) | Self::Elsewhere(_) => None,
        }
    }
}
