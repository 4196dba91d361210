//! The dispatcher.

use std::net::IpAddr;
use std::sync::Arc;

use skep_engine::Engine;
use skep_model::{Function, InvocationId, Journal, Phases, Problem, ProblemCode};

use crate::config::Config;
use crate::lease::Lease;
use crate::snapshot::Snapshot;
use crate::work::{Refusal, Work};

/// Gives callers instances.
#[derive(Clone)]
pub struct Dispatcher {
    config: Arc<Config>,
}

impl Dispatcher {
    /// A dispatcher with nothing in force yet. Must be called within a tokio runtime.
    pub fn new(config: Config, _engine: Arc<dyn Engine>, _journal: Arc<dyn Journal>) -> Self {
        Self { config: Arc::new(config) }
    }

    /// Says what is in force now. New work runs on it; instances of older revisions end after their work.
    pub fn set_functions(&self, _functions: Vec<Arc<Function>>) {}

    /// Waits for an instance of the function. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// Why there is none, and where the time went.
    pub async fn acquire(&self, _function: &Arc<Function>, _work: Work) -> Result<Lease, Refusal> {
        Err(Refusal { problem: Problem::new(ProblemCode::NodeFull), phases: Phases::default() })
    }

    /// The invocations that run now in instances with this address.
    pub fn invocations_at(&self, _address: IpAddr) -> Vec<InvocationId> {
        Vec::new()
    }

    /// A picture of the node.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { memory_budget: self.config.memory_budget, ..Snapshot::default() }
    }

    /// Takes no new work; returns when everything that was accepted has ended and every instance is removed.
    pub async fn drain(&self) {}

    /// Ends and removes everything at once, whatever it is doing.
    pub async fn end_all(&self) {}
}
