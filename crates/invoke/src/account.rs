//! What is known of an invocation while it runs. The record of most runs is never made: it is written out of this only
//! where somebody gets it.

use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;
use jiff::Timestamp;
use skep_model::{Ending, Function, InstanceId, InvocationId, Phases, Record, Status, Trigger};

use crate::invocation::Invocation;

/// An invocation that was begun, as far as it got.
#[derive(Debug)]
pub struct Account {
    /// Its id.
    pub id: InvocationId,
    /// What runs; once it has its instance, as that has it.
    pub function: Arc<Function>,
    /// What asked for it.
    pub trigger: Trigger,
    /// When it had its instance.
    pub started: Option<Timestamp>,
    /// The instance.
    pub instance: Option<InstanceId>,
    /// Where the time went.
    pub phases: Phases,
    parent: Option<InvocationId>,
    method: Method,
    path: Option<PathAndQuery>,
    received: Timestamp,
    attempts: u32,
}

impl Account {
    /// Of an invocation that begins now.
    pub fn of(invocation: &Invocation) -> Self {
        Self {
            id: invocation.id,
            function: invocation.function.clone(),
            trigger: invocation.trigger,
            started: None,
            instance: None,
            phases: Phases::default(),
            parent: invocation.parent,
            method: invocation.request.method().clone(),
            path: invocation.request.uri().path_and_query().cloned(),
            received: invocation.received,
            attempts: invocation.attempts,
        }
    }

    /// The record as of now; without an ending it still runs.
    pub fn record(&self, ending: Option<Ending>) -> Record {
        Record {
            id: self.id,
            function: self.function.name.to_string(),
            revision: self.started.map(|_| self.function.revision.to_string()),
            parent: self.parent,
            trigger: self.trigger,
            status: ending.as_ref().map_or(Status::Running, Ending::status),
            method: self.method.to_string(),
            path: self.path.as_ref().map_or("/", PathAndQuery::as_str).to_owned(),
            received: self.received,
            started: self.started,
            ended: ending.as_ref().map(|_| Timestamp::now()),
            instance: self.instance,
            node: None,
            phases: self.phases,
            attempts: self.attempts,
            ending,
        }
    }
}
