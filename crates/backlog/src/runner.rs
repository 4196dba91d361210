//! What runs one accepted invocation.

use std::sync::Arc;

use futures::future::BoxFuture;
use skep_model::{Function, ProblemCode, Record};
use skep_store::{Accepted, StoredResponse};

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The record that the run was given, with what is known now; `ending` has to be set.
    ///
    /// An ending with the problem `queue-full`, `queue-timeout`, `node-full`, `draining`, `engine-unavailable` or
    /// `storage-unavailable` says that there was no room for the run, which says nothing about the invocation: it
    /// is put back and tried again. One with `node-lost` says that nobody knows its end: it is repeated, a few
    /// times. Every other is its end.
    pub record: Record,
    /// The response, where there is one and it is not too large to be stored.
    pub response: Option<StoredResponse>,
}

/// Runs accepted invocations, under the same admission as requests (with `Work.background`).
pub trait Runner: Send + Sync + 'static {
    /// Runs an invocation on a function to its end. Dropping the future gives the run up; it is then repeated
    /// after the next start.
    fn run(&self, function: Arc<Function>, accepted: Accepted) -> BoxFuture<'_, Ran>;
}

/// The problems that say that a run could not be begun.
pub(crate) const REFUSALS: [ProblemCode; 6] = [
    ProblemCode::QueueFull,
    ProblemCode::QueueTimeout,
    ProblemCode::NodeFull,
    ProblemCode::Draining,
    ProblemCode::EngineUnavailable,
    ProblemCode::StorageUnavailable,
];

impl Ran {
    /// Whether nobody knows how the run ended, since it went with its node.
    pub(crate) fn node_was_lost(&self) -> bool {
        let ending = self.record.ending.as_ref();
        ending.and_then(|ending| ending.problem) == Some(ProblemCode::NodeLost)
    }

    /// Why the run could not be begun, where it was so.
    pub(crate) fn refusal(&self) -> Option<ProblemCode> {
        let problem = self.record.ending.as_ref().and_then(|ending| ending.problem)?;
        REFUSALS.contains(&problem).then_some(problem)
    }
}
