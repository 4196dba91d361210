//! The rules of the pool as a state machine without I/O: events go in with the time at which they happened,
//! [`Action`]s come out. The driver around it carries them out and reports back.
//!
//! What always holds, whatever the order of events (the property tests hold it):
//! - No name has more instances than its function's `max`, those being removed included.
//! - The memory promised to instances, those being removed included, is never above the node's budget.
//! - Callers of one function and class get instances in the order of their arrival.
//! - Every caller gets exactly one answer: an instance, a refusal, or none because it left.
//! - An instance with work is never ended, except by [`Pool::end_all`].
//! - While a function waits for memory, only so many launches of others overtake it.
//!
//! Who comes first:
//! - In one function, callers who wait come before asynchronous work, except that every eighth instance goes to
//!   asynchronous work; and asynchronous work occupies at most three quarters of the function's `max`.
//! - Between functions, those with callers take turns, one launch each. The same eighth holds between the two
//!   classes, and asynchronous work leaves a quarter of the memory free unless it has nothing else running.
//! - Idle instances make room for a launch, the longest idle first, then spares. Asynchronous work beyond its
//!   share takes only the room of instances that have been idle for a while. A function that holds more than its share of the memory while others wait gives up instances as they finish.

mod admit;
mod arrive;
mod index;
mod launch;
mod life;
mod memory;
mod revise;
mod serve;
#[cfg(test)]
mod tests;
mod timers;
mod types;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use skep_model::{FunctionName, Phases, Problem, Revision};

#[cfg(test)]
pub(crate) use types::stdio;
pub(crate) use types::{Action, CallerKey, Grant, InstanceKey};
use types::{Caller, Entry, Group, Timer};
pub(crate) use view::Seen;

use crate::config::Config;
use crate::snapshot::Totals;

/// The instances and the callers of one node.
#[derive(Debug)]
pub(crate) struct Pool {
    config: Config,
    groups: HashMap<FunctionName, Group>,
    entries: BTreeMap<InstanceKey, Entry>,
    callers: BTreeMap<CallerKey, Caller>,
    next_key: u64,
    actions: Vec<Action>,
    /// Functions that need a launch, in the order of their turns, for each class.
    rings: [VecDeque<FunctionName>; 2],
    /// Functions that want more spares.
    lacking_spares: BTreeSet<FunctionName>,
    /// Functions whose turn came while there was no memory, and how much they need.
    blocked: BTreeMap<FunctionName, u64>,
    /// Launches for callers who wait since the last one for asynchronous work.
    turns: u32,
    /// Launches that the engine is working on.
    launching: usize,
    /// Launches and invocations of asynchronous work.
    background: usize,
    /// Callers (not asynchronous work) for whom no launch was begun.
    uncovered_foreground: usize,
    memory_used: u64,
    /// The part of it that comes free by itself: of instances that end, now or after their work.
    memory_coming: u64,
    /// Idle instances, the longest idle first.
    resting: BTreeSet<(Instant, InstanceKey)>,
    /// Spares, the oldest first.
    waiting_spares: BTreeSet<(Instant, InstanceKey)>,
    /// Instances in their grace.
    gentle: BTreeSet<InstanceKey>,
    timers: BTreeSet<(Instant, Timer)>,
    /// Functions removed lately: a caller who still holds one is told so.
    gone: VecDeque<(FunctionName, Revision)>,
    draining: bool,
    ended: bool,
    totals: Totals,
}

impl Pool {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            groups: HashMap::new(),
            entries: BTreeMap::new(),
            callers: BTreeMap::new(),
            next_key: 0,
            actions: Vec::new(),
            rings: [VecDeque::new(), VecDeque::new()],
            lacking_spares: BTreeSet::new(),
            blocked: BTreeMap::new(),
            turns: 0,
            launching: 0,
            background: 0,
            uncovered_foreground: 0,
            memory_used: 0,
            memory_coming: 0,
            resting: BTreeSet::new(),
            waiting_spares: BTreeSet::new(),
            gentle: BTreeSet::new(),
            timers: BTreeSet::new(),
            gone: VecDeque::new(),
            draining: false,
            ended: false,
            totals: Totals::default(),
        }
    }

    /// What is to be done since the last call.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether nobody waits and no instance is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.callers.is_empty() && self.entries.is_empty()
    }

    fn next(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Brings one function in order after something about it changed, then gives out what the node has.
    fn settle(&mut self, name: &FunctionName, now: Instant) {
        self.refresh(name, now);
        self.admit(now);
    }

    fn refresh(&mut self, name: &FunctionName, now: Instant) {
        self.serve(name, now);
        if self.draining {
            self.end_resting(name);
        }
        self.cover_by_starting(name);
        self.join_rings(name);
        self.arm_queue_timer(name);
        if self.groups.get(name).is_some_and(Group::unused) {
            self.groups.remove(name);
            self.lacking_spares.remove(name);
        }
    }

    /// Answers a caller with a problem. It may wait, or be bound to a launch.
    fn refuse(&mut self, caller: CallerKey, problem: Problem, phases: Phases) {
        if self.dequeue(caller).is_some() {
            self.totals.refused += 1;
            self.actions.push(Action::Refuse {
                caller,
                problem,
                phases,
            });
        }
    }
}
