//! One container that a function started: what is known of it, and what of it counts.

use jiff::Timestamp;
use skep_model::{FunctionName, InvocationId};

use crate::labels::Marks;

/// What a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Made and not started.
    Created,
    /// Its process runs, or is paused.
    Running,
    /// Its process ended with this code.
    Exited(i64),
}

/// A container that a function started through its socket.
#[derive(Debug, Clone)]
pub struct Child {
    /// Docker's id of it.
    pub id: String,
    /// Its name, as the function knows it.
    pub name: String,
    pub(crate) marks: Marks,
    /// What it is doing.
    pub state: State,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    pub(crate) removed: bool,
    /// The bytes that it has on the disk, where they were measured since it last changed what it is doing.
    pub(crate) disk: Option<u64>,
    /// Why it may write no more.
    pub(crate) over: Option<String>,
}

impl Child {
    /// The function whose grant it came from.
    pub fn function(&self) -> &FunctionName {
        &self.marks.function
    }

    /// The instance or the child whose socket it came through.
    pub fn parent(&self) -> &str {
        &self.marks.parent
    }

    /// The invocation that it belongs to, where its instance serves one alone.
    pub fn invocation(&self) -> Option<InvocationId> {
        self.marks.invocation
    }

    /// 1 for the child of an instance, 2 for that one's child.
    pub fn generation(&self) -> u32 {
        self.marks.generation
    }

    /// The image or the function that it was started as.
    pub fn started_as(&self) -> &str {
        &self.marks.asked
    }

    /// The bytes of memory that count for it.
    pub fn memory(&self) -> u64 {
        self.marks.memory
    }

    /// The billionths of a CPU that count for it.
    pub fn nano_cpus(&self) -> u64 {
        self.marks.nano_cpus
    }

    /// Its exit code, where it ended.
    pub fn exit_code(&self) -> Option<i64> {
        match self.state {
            State::Exited(code) => Some(code),
            State::Created | State::Running => None,
        }
    }

    /// Whether Docker has it no more.
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    /// Whether it counts against `skep.spawn.max`, `.memory` and `.cpus`.
    pub fn is_live(&self) -> bool {
        self.marks.restarts || !matches!(self.state, State::Exited(_))
    }
}
