//! Who runs an invocation: the invoker of this process, or whoever has it run on other nodes.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Response;
use skep_dispatch::Dispatcher;
use skep_invoke::{Body, Invocation, Invoker, Metrics};

/// Has invocations run elsewhere than in this process.
pub trait Elsewhere: Send + Sync + 'static {
    /// Runs one, as an invoker does: it ends with the response's body, and dropping either ends it early.
    fn invoke(&self, invocation: Box<Invocation>) -> BoxFuture<'_, Response<Body>>;

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
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        match self {
            Self::Here(invoker) => invoker.metrics(),
            Self::Elsewhere(elsewhere) => elsewhere.metrics(),
        }
    }

    /// Who knows which invocation runs at which address, where they run here.
    pub(crate) fn dispatcher(&self) -> Option<&Dispatcher> {
        match self {
            Self::Here(invoker) => Some(invoker.dispatcher()),
            Self::Elsewhere(_) => None,
        }
    }
}
