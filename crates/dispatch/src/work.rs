//! What a caller asks for, and what it is told when it can't have it.

use skep_engine::Stdio;
use skep_model::{InvocationId, Phases, Problem};

/// One invocation that needs an instance.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its id.
    pub invocation: InvocationId,
    /// Variables for the instance, where it is launched for this invocation alone ([`Stdio::Pipe`]).
    pub environment: Vec<(String, String)>,
    /// [`Stdio::Pipe`] for `exec` and `cgi`, [`Stdio::Log`] for `http`.
    pub stdio: Stdio,
    /// Whether nobody waits for the answer: such work yields to callers who wait, and keeps a share of its own.
    pub background: bool,
}

/// Why there is no instance for a caller, and where its time went until then.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .problem.code.title())]
pub struct Refusal {
    /// What to tell it.
    pub problem: Problem,
    /// Where its time went.
    pub phases: Phases,
}

/// What becomes of an instance after an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It may serve again, as far as the invocation knows.
    Reusable,
    /// The work was given up, by its caller or by us: who knows what the instance does about it now. It ends, unless
    /// it serves others at this moment.
    Abandoned,
    /// It ends as soon as nobody else uses it.
    Spent,
}
