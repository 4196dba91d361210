//! What the pool looks like from outside.

use std::time::{Duration, Instant};

use skep_model::{FunctionName, Revision};

use super::types::{Class, Life};
use super::{InstanceKey, Pool};
use crate::snapshot::{FunctionView, State, Totals};

/// One instance as the pool knows it; the driver adds what the engine knows.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) key: InstanceKey,
    pub(crate) function: FunctionName,
    pub(crate) revision: Revision,
    pub(crate) state: State,
    pub(crate) served: u64,
    pub(crate) age: Duration,
    pub(crate) memory: u64,
}

impl Pool {
    /// Every instance, the oldest first.
    pub(crate) fn instances(&self, now: Instant) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self
            .entries
            .iter()
            .map(|(key, entry)| Seen {
                key: *key,
                function: entry.function.name.clone(),
                revision: entry.function.revision.clone(),
                state: match entry.life {
                    Life::Launching | Life::Readying => State::Starting,
                    Life::Ready if entry.working() > 0 => State::Busy,
                    Life::Ready if entry.frozen => State::Frozen,
                    Life::Ready if entry.served == 0 => State::Spare,
                    Life::Ready => State::Idle,
                    Life::Ending { .. } => State::Ending,
                },
                served: entry.served,
                age: now.saturating_duration_since(entry.began),
                memory: entry.memory,
            })
            .collect();
        seen.sort_by_key(|seen| seen.key);
        seen
    }

    /// Every function with callers, instances or a failure, by name.
    pub(crate) fn functions(&self) -> Vec<FunctionView> {
        let mut views: Vec<FunctionView> = self
            .groups
            .iter()
            .map(|(name, group)| (name, group, group.lanes.each_ref().map(|lane| lane.waiting.len())))
            .filter(|(_, group, waiting)| {
                *waiting != [0, 0] || !group.instances.is_empty() || group.failure.is_some()
            })
            .map(|(name, group, waiting)| FunctionView {
                name: name.clone(),
                waiting: waiting[Class::Foreground.index()],
                waiting_background: waiting[Class::Background.index()],
                failure: group.failure.clone(),
            })
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn memory_used(&self) -> u64 {
        self.memory_used
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining
    }
}
