//! What the control listener reads: the narrow door to everything else in the process.

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, Response};
use jiff::Timestamp;
use skep_model::{InvocationId, Problem, Status};

use crate::api;

/// Which invocations are asked for, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InvocationFilter {
    /// Only this function's.
    pub function: Option<String>,
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those that arrived then or later.
    pub since: Option<Timestamp>,
    /// Only those that are older than this one: where the page before ended.
    pub before: Option<InvocationId>,
    /// At most so many.
    pub limit: u32,
}

/// Which log lines are asked for, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogFilter {
    /// Only this function's.
    pub function: Option<String>,
    /// Only this invocation's.
    pub invocation: Option<InvocationId>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only the last so many of what there is.
    pub tail: Option<u32>,
    /// Whether to go on with what is still to be written; with an invocation, until it has ended.
    pub follow: bool,
}

/// A running Skep, as its control listener sees it.
pub trait Node: Send + Sync + 'static {
    /// Every function in force and every invalid template, by name.
    fn functions(&self) -> Vec<api::Function>;

    /// Everything about the templates that carry one name; `None` where none does.
    fn function(&self, name: &str) -> Option<api::FunctionDetail>;

    /// Every instance that there is now, the oldest first.
    fn instances(&self) -> Vec<api::Instance>;

    /// Every sandbox that exists apart from an instance, the oldest first.
    fn sandboxes(&self) -> Vec<api::Sandbox>;

    /// The same, of every node that this one speaks for.
    fn instances_of_all(&self) -> BoxFuture<'_, Vec<api::Instance>> {
        let own = self.instances();
        Box::pin(async move { own })
    }

    /// The same, of every node that this one speaks for.
    fn sandboxes_of_all(&self) -> BoxFuture<'_, Vec<api::Sandbox>> {
        let own = self.sandboxes();
        Box::pin(async move { own })
    }

    /// The containers that functions started through their Docker sockets, the oldest first.
    fn children(&self) -> Vec<api::Child> {
        Vec::new()
    }

    /// The same, of every node that this one speaks for.
    fn children_of_all(&self) -> BoxFuture<'_, Vec<api::Child>> {
        let own = self.children();
        Box::pin(async move { own })
    }

    /// Whether there is no function of which this knows nothing.
    fn knows_every_function(&self) -> bool {
        true
    }

    /// A page of invocations.
    ///
    /// # Errors
    /// The store can't be read.
    fn invocations(&self, filter: InvocationFilter) -> BoxFuture<'_, Result<Vec<api::Invocation>, Problem>>;

    /// One invocation.
    ///
    /// # Errors
    /// The store can't be read.
    fn invocation(&self, id: InvocationId) -> BoxFuture<'_, Result<Option<api::Invocation>, Problem>>;

    /// Log lines; with `follow` the stream ends only when nothing more can come.
    ///
    /// # Errors
    /// The store can't be read.
    fn logs(
        &self,
        filter: LogFilter,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<api::LogLine, Problem>>, Problem>>;

    /// Invokes a function, on the public listener or not; the request's path is the one that the function sees.
    fn invoke(&self, function: &str, request: Request<Body>) -> BoxFuture<'_, Response<Body>>;

    /// Whether work can be taken, and what is in the way.
    fn readiness(&self) -> BoxFuture<'_, Vec<api::Check>>;
}
