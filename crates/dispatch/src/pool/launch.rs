//! Beginning a launch, and what follows from how it goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_engine::Stdio;
use skep_model::{Function, FunctionName, Phases, Problem};

use super::types::{Class, Entry, Life, Timer, seats, stdio};
use super::{Action, CallerKey, InstanceKey, Pool};

/// The wait before spares are tried again after a first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest such wait.
const LAST_RETRY: Duration = Duration::from_secs(60);

impl Pool {
    /// The bytes counted for one instance.
    pub(super) fn memory_of(&self, function: &Function) -> u64 {
        function.template.memory.unwrap_or(self.config.assumed_memory)
    }

    /// Begins a launch on behalf of the first callers of a class, or with `None` for a spare.
    pub(super) fn launch(&mut self, name: &FunctionName, class: Option<Class>, now: Instant) {
        let Some(function) = self.groups.get(name).and_then(|group| group.current.clone()) else {
            return;
        };
        let key = InstanceKey(self.next());
        let bound = stdio(&function) == Stdio::Pipe;
        let memory = self.memory_of(&function);
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        group.instances.insert(key);
        group.memory += memory;
        group.overtaken = 0;
        let callers: Vec<CallerKey> = class.map_or_else(Vec::new, |class| {
            group.lanes[class.index()]
                .uncovered
                .iter()
                .copied()
                .take(seats(&function) as usize)
                .collect()
        });
        self.memory_used += memory;
        self.launching += 1;
        self.background += usize::from(class == Some(Class::Background));
        self.totals.launches += 1;
        self.blocked.remove(name);
        self.entries.insert(
            key,
            Entry {
                function: Arc::clone(&function),
                memory,
                life: Life::Launching,
                began: now,
                callers: BTreeSet::new(),
                class: class.unwrap_or(Class::Foreground),
                bound,
                in_flight: [0, 0],
                served: 0,
                spent: false,
                frozen: false,
                unfreezable: false,
                idle_since: now,
                timer: None,
            },
        );
        for caller in &callers {
            self.cover(*caller, key);
        }
        let caller = callers.first().copied().filter(|_| bound);
        if let (Some(caller), Some(class)) = (caller, class) {
            self.bind(caller, class);
        }
        self.index(key, now);
        self.actions.push(Action::Launch {
            instance: key,
            function,
            caller,
        });
    }

    /// Notes that a launch happens on behalf of a caller.
    pub(super) fn cover(&mut self, key: CallerKey, instance: InstanceKey) {
        let Some(caller) = self.callers.get_mut(&key) else {
            return;
        };
        caller.launch = Some(instance);
        if let Some(entry) = self.entries.get_mut(&instance) {
            entry.callers.insert(key);
        }
        if let Some(group) = self.groups.get_mut(&caller.function)
            && group.lanes[caller.class.index()].uncovered.remove(&key)
            && caller.class == Class::Foreground
        {
            self.uncovered_foreground -= 1;
        }
    }

    /// A caller whose instance is its own waits in no queue once that is being launched.
    fn bind(&mut self, key: CallerKey, class: Class) {
        let Some(group) = self
            .callers
            .get(&key)
            .and_then(|caller| self.groups.get_mut(&caller.function))
        else {
            return;
        };
        group.lanes[class.index()].waiting.remove(&key);
        group.in_flight[class.index()] += 1;
        group.count_turn(class);
    }

    /// A launch no longer counts as work of its class: it was granted, or it is over.
    pub(super) fn release_launch(&mut self, key: InstanceKey) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if entry.class == Class::Background {
            self.background -= 1;
        }
        if entry.bound
            && entry.served == 0
            && let Some(group) = self.groups.get_mut(&entry.function.name)
        {
            group.in_flight[entry.class.index()] -= 1;
            entry.bound = false;
        }
        entry.class = Class::Foreground;
    }

    /// The engine has started the instance's process.
    pub(crate) fn launched(&mut self, key: InstanceKey, now: Instant) {
        let Some(entry) = self
            .entries
            .get_mut(&key)
            .filter(|entry| entry.life == Life::Launching)
        else {
            return;
        };
        entry.life = Life::Readying;
        self.launching -= 1;
        self.admit(now);
    }

    /// The instance accepts work.
    pub(crate) fn ready(&mut self, key: InstanceKey, now: Instant) {
        if self.entries.get(&key).is_some_and(Entry::ending) {
            // Given up meanwhile, and nobody removes it yet.
            self.actions.push(Action::End {
                instance: key,
                gentle: false,
            });
        }
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.starting()) else {
            return;
        };
        let name = entry.function.name.clone();
        if entry.life == Life::Launching {
            self.launching -= 1;
        }
        self.unindex(key);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.life = Life::Ready;
        let waiting: Vec<CallerKey> = entry.callers.iter().copied().collect();
        if entry.bound {
            match waiting.first() {
                Some(caller) => self.grant(*caller, key, now),
                None => self.end(key, false),
            }
        } else {
            self.release_launch(key);
            // They wait for whatever comes first from here on: this instance, as soon as it is offered.
            self.send_back(key);
            self.index(key, now);
        }
        if let Some(group) = self.groups.get_mut(&name) {
            group.retry_at = None;
            group.failure = None;
        }
        self.settle(&name, now);
    }

    /// Callers on whose behalf a launch was begun stand in the queue again, where they stood.
    pub(super) fn send_back(&mut self, key: InstanceKey) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        for caller in std::mem::take(&mut entry.callers) {
            self.uncover(caller);
        }
    }

    /// A launch failed, or its instance never became ready. `exists`: there is an instance to be removed.
    /// The callers on whose behalf it was begun are told, with `phases` after their own wait.
    pub(crate) fn failed(
        &mut self,
        key: InstanceKey,
        problem: &Problem,
        phases: Phases,
        exists: bool,
        now: Instant,
    ) {
        let Some(entry) = self.entries.get(&key).filter(|entry| !entry.ending()) else {
            if exists {
                self.actions.push(Action::End {
                    instance: key,
                    gentle: false,
                });
            } else {
                self.removed(key, now);
            }
            return;
        };
        let (name, began) = (entry.function.name.clone(), entry.began);
        let told: Vec<CallerKey> = entry.callers.iter().copied().collect();
        self.totals.launch_failures += 1;
        self.note_failure(
            &name,
            problem
                .internal
                .clone()
                .unwrap_or_else(|| problem.code.title().into()),
            now,
        );
        for caller in told {
            let arrived = self.callers.get(&caller).map_or(now, |caller| caller.arrived);
            let queue = Some(began.saturating_duration_since(arrived));
            self.refuse(caller, problem.clone(), Phases { queue, ..phases });
        }
        if exists {
            self.end(key, false);
            self.settle(&name, now);
        } else {
            self.become_ending(key, false);
            self.removed(key, now);
        }
    }

    /// A failure of an instance that nobody used: spares wait longer each time, so that they don't spin.
    pub(super) fn note_failure(&mut self, name: &FunctionName, failure: String, now: Instant) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let wait = FIRST_RETRY
            .saturating_mul(1 << group.failures.min(10))
            .min(LAST_RETRY);
        group.failures += 1;
        group.failure = Some(failure);
        if let Some(before) = group.retry_at.replace(now + wait) {
            self.timers.remove(&(before, Timer::Retry(name.clone())));
        }
        self.timers.insert((now + wait, Timer::Retry(name.clone())));
    }
}
