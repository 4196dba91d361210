//! A picture of the node at one moment, for `skep ps`, `/v1/instances` and `/metrics`.

use std::time::Duration;

use skep_model::{FunctionName, InstanceId, InvocationId, Revision};

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Being made, or not ready yet.
    Starting,
    /// Ready and never used.
    Spare,
    /// Serving at least one invocation.
    Busy,
    /// Reused, and without work just now.
    Idle,
    /// Idle, and its processes stopped from running until there is work.
    Frozen,
    /// Being removed.
    Ending,
}

impl State {
    /// Every state, in the order of an instance's life.
    pub const ALL: [Self; 6] = [
        Self::Starting,
        Self::Spare,
        Self::Busy,
        Self::Idle,
        Self::Frozen,
        Self::Ending,
    ];

    /// The word for it, on the screen and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Spare => "spare",
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Frozen => "frozen",
            Self::Ending => "ending",
        }
    }
}

/// One instance.
#[derive(Debug, Clone)]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// Whose instance it is.
    pub function: FunctionName,
    /// Which revision it runs.
    pub revision: Revision,
    /// What it is doing.
    pub state: State,
    /// The invocations in it just now.
    pub invocations: Vec<InvocationId>,
    /// How many invocations it has been given, those in it included.
    pub served: u64,
    /// How long ago its launch began.
    pub age: Duration,
    /// What an operator looks for on the node; `None` until it was made.
    pub locator: Option<String>,
    /// Its port; `None` until it was made.
    pub port: Option<u16>,
    /// The bytes counted for it against the budget.
    pub memory: u64,
}

/// One function with callers or instances.
#[derive(Debug, Clone)]
pub struct FunctionView {
    /// Its name.
    pub name: FunctionName,
    /// Callers who wait.
    pub waiting: usize,
    /// Asynchronous invocations that wait.
    pub waiting_background: usize,
    /// Why the last launch failed, until one succeeds; for the operator.
    pub failure: Option<String>,
}

/// Counts since the start; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Launches begun.
    pub launches: u64,
    /// Launches that failed or never became ready.
    pub launch_failures: u64,
    /// Callers who waited for a launch of their own: cold starts.
    pub cold: u64,
    /// Callers who got a spare.
    pub spare: u64,
    /// Callers who got a reused instance.
    pub reused: u64,
    /// Callers refused.
    pub refused: u64,
    /// Idle instances and spares ended to make room for another function.
    pub evicted: u64,
}

/// A picture of the node.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Every instance, the oldest first.
    pub instances: Vec<InstanceView>,
    /// Every function that has callers, instances or a failure.
    pub functions: Vec<FunctionView>,
    /// Bytes promised to instances.
    pub memory_used: u64,
    /// Bytes that may be promised.
    pub memory_budget: u64,
    /// Counts since the start.
    pub totals: Totals,
    /// Whether new work is refused because Skep is shutting down.
    pub draining: bool,
}
