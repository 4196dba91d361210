//! What the pool keeps of instances, callers and functions, and what it asks its driver to do.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_engine::Stdio;
use skep_model::{Function, FunctionName, Handler, Phases, Problem, Recycle};

/// An instance, from the decision to launch it until it is removed. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InstanceKey(pub(crate) u64);

/// A caller, from its arrival until it has an answer. Later ones are greater, so that order is arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallerKey(pub(crate) u64);

/// What the driver has to do, in this order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Launch an instance; with a caller it is for that one alone, with its environment and its pipes.
    Launch {
        instance: InstanceKey,
        function: Arc<Function>,
        caller: Option<CallerKey>,
    },
    /// Give the launch up; [`super::Pool::removed`] follows when nothing of it is left.
    Cancel { instance: InstanceKey },
    /// Hand the instance to the caller.
    Grant {
        caller: CallerKey,
        instance: InstanceKey,
        grant: Grant,
    },
    /// Tell the caller that there is none.
    Refuse {
        caller: CallerKey,
        problem: Problem,
        phases: Phases,
    },
    /// Stop the instance's processes from running, unless it was granted meanwhile.
    Freeze { instance: InstanceKey },
    /// Remove the instance; a gentle end gives it its stop signal and its grace first.
    End { instance: InstanceKey, gentle: bool },
    /// Cut a gentle end short: the room is needed.
    Hurry { instance: InstanceKey },
}

/// How a caller came by its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// How long it waited before the launch of this instance began, or for the instance as a whole.
    pub(crate) queue: Duration,
    /// Whether the launch happened while it waited, so that its phases are this caller's too.
    pub(crate) cold: bool,
    /// Whether the instance served others before.
    pub(crate) reused: bool,
    /// Whether the instance must be thawed first.
    pub(crate) thaw: bool,
}

/// A caller that waits.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) function: FunctionName,
    pub(crate) stdio: Stdio,
    pub(crate) class: Class,
    pub(crate) arrived: Instant,
    /// The launch that was begun on its behalf.
    pub(crate) launch: Option<InstanceKey>,
}

/// Whether somebody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Foreground,
    Background,
}

impl Class {
    pub(crate) const ALL: [Self; 2] = [Self::Foreground, Self::Background];

    pub(crate) fn of(background: bool) -> Self {
        if background {
            Self::Background
        } else {
            Self::Foreground
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// How far an instance's life got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// The engine is making it; it holds one of the node's starts.
    Launching,
    /// Its process runs and does not accept work yet.
    Readying,
    /// It accepts work.
    Ready,
    /// It is being removed.
    Ending { gentle: bool },
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) function: Arc<Function>,
    pub(crate) memory: u64,
    pub(crate) life: Life,
    pub(crate) began: Instant,
    /// The callers on whose behalf it is launched; those of [`Stdio::Pipe`] are bound to it.
    pub(crate) callers: BTreeSet<CallerKey>,
    /// Whose turn the launch was.
    pub(crate) class: Class,
    /// Whether it is one caller's own ([`Stdio::Pipe`]).
    pub(crate) bound: bool,
    pub(crate) in_flight: [u32; 2],
    pub(crate) served: u64,
    /// It takes no more work, and ends when what it has is done.
    pub(crate) spent: bool,
    pub(crate) frozen: bool,
    /// Freezing failed once: it is left alone.
    pub(crate) unfreezable: bool,
    pub(crate) idle_since: Instant,
    pub(crate) timer: Option<Instant>,
}

impl Entry {
    pub(crate) fn working(&self) -> u32 {
        self.in_flight[0] + self.in_flight[1]
    }

    /// Whether it may be given one more invocation, once it is ready.
    pub(crate) fn has_room(&self) -> bool {
        let limit = self.function.settings.recycle.limit().unwrap_or(u64::MAX);
        !self.spent && self.served < limit && self.working() < seats(&self.function)
    }

    pub(crate) fn starting(&self) -> bool {
        matches!(self.life, Life::Launching | Life::Readying)
    }

    pub(crate) fn ending(&self) -> bool {
        matches!(self.life, Life::Ending { .. })
    }
}

/// Callers of one class that wait for one function, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// All of them.
    pub(crate) waiting: BTreeSet<CallerKey>,
    /// Those for whom no launch was begun.
    pub(crate) uncovered: BTreeSet<CallerKey>,
}

/// Everything about the instances and callers of one name.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// What is in force; `None` after its removal, until its last instance is gone.
    pub(crate) current: Option<Arc<Function>>,
    pub(crate) lanes: [Lane; 2],
    /// Every instance, of every revision, until it is removed.
    pub(crate) instances: BTreeSet<InstanceKey>,
    /// Launches of the current revision that are nobody's own.
    pub(crate) starting: BTreeSet<InstanceKey>,
    /// Ready, used before, and without work; the most recently used last, so that frozen ones come first.
    pub(crate) idle: Vec<InstanceKey>,
    /// Working and with room for more, by how much they have.
    pub(crate) roomy: BTreeSet<(u32, InstanceKey)>,
    /// Ready and never used, the oldest first.
    pub(crate) spares: VecDeque<InstanceKey>,
    /// Invocations of each class that have an instance, or a launch of their own.
    pub(crate) in_flight: [u64; 2],
    /// Foreground grants since the background had its last.
    pub(crate) turns: u32,
    /// Bytes promised to its instances.
    pub(crate) memory: u64,
    /// Launches of others that were let past while this one waited for memory.
    pub(crate) overtaken: u32,
    pub(crate) in_ring: [bool; 2],
    pub(crate) failures: u32,
    pub(crate) retry_at: Option<Instant>,
    /// Why the last launch failed.
    pub(crate) failure: Option<String>,
    pub(crate) queue_timer: Option<Instant>,
}

impl Group {
    pub(crate) fn unused(&self) -> bool {
        self.current.is_none()
            && self.instances.is_empty()
            && self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// How many more spares should be launched.
    pub(crate) fn spares_missing(&self, free_starts: usize) -> usize {
        let wanted = self
            .current
            .as_ref()
            .map_or(0, |function| function.settings.spares as usize);
        wanted.saturating_sub(self.spares.len() + free_starts)
    }
}

/// How many invocations an instance has at once.
pub(crate) fn seats(function: &Function) -> u32 {
    match function.settings.recycle {
        Recycle::Request => 1,
        _ => function.settings.concurrency.max(1),
    }
}

/// How the instances of a function are spoken to.
pub(crate) fn stdio(function: &Function) -> Stdio {
    match function.settings.handler {
        Handler::Http => Stdio::Log,
        Handler::Cgi | Handler::Exec => Stdio::Pipe,
    }
}

/// What a timer is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An instance has been idle for long.
    Instance(InstanceKey),
    /// The first callers of a function's queue have waited for long.
    Queue(FunctionName),
    /// A function whose spares failed may try again.
    Retry(FunctionName),
}
