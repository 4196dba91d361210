//! What is in force changes: new revisions, removals, and the end of everything.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use skep_model::{Function, FunctionName, Phases, Problem, ProblemCode};

use super::types::Life;
use super::{CallerKey, InstanceKey, Pool};

/// How many removed functions are remembered, for callers who were about to ask for one.
const REMEMBERED: usize = 256;

impl Pool {
    /// Says what is in force from now on.
    pub(crate) fn set_functions(&mut self, functions: Vec<Arc<Function>>, now: Instant) {
        let names: HashSet<FunctionName> = functions.iter().map(|function| function.name.clone()).collect();
        let gone: Vec<FunctionName> = self
            .groups
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.withdraw(&name, now);
        }
        self.gone.retain(|(name, _)| !names.contains(name));
        for function in functions {
            self.put_in_force(function, now);
        }
    }

    fn withdraw(&mut self, name: &FunctionName, now: Instant) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        if let Some(function) = group.current.take() {
            self.gone.push_back((name.clone(), function.revision.clone()));
            if self.gone.len() > REMEMBERED {
                self.gone.pop_front();
            }
        }
        self.retire(name, None);
        self.refuse_waiting(name, now);
        self.settle(name, now);
    }

    fn put_in_force(&mut self, function: Arc<Function>, now: Instant) {
        let name = function.name.clone();
        let group = self.groups.entry(name.clone()).or_default();
        let before = group.current.replace(Arc::clone(&function));
        if before.is_some_and(|before| Arc::ptr_eq(&before, &function)) {
            return;
        }
        self.retire(&name, Some(&function));
        self.refuse_waiting(&name, now);
        self.settle(&name, now);
    }

    /// Ends what is not of the revision in force: what waits at once, what works after its work. A launch that
    /// is one caller's own goes on; the callers of other launches go back to the queue.
    fn retire(&mut self, name: &FunctionName, current: Option<&Function>) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let old: Vec<InstanceKey> = group
            .instances
            .iter()
            .copied()
            .filter(|key| {
                let revision = self.entries.get(key).map(|entry| &entry.function.revision);
                revision != current.map(|function| &function.revision)
            })
            .collect();
        if !old.is_empty() {
            // Another definition, another chance.
            group.failures = 0;
            group.failure = None;
            group.retry_at = None;
        }
        for key in old {
            self.let_go(key);
        }
    }

    fn let_go(&mut self, key: InstanceKey) {
        let Some(entry) = self.entries.get(&key) else {
            return;
        };
        match entry.life {
            Life::Launching | Life::Readying if !entry.bound => {
                self.send_back(key);
                self.cancel(key);
            }
            Life::Ready if entry.working() == 0 => {
                let used = entry.served > 0;
                self.end(key, used);
            }
            _ => self.become_spent(key),
        }
    }

    /// Callers for whom the revision in force has nothing are told so.
    fn refuse_waiting(&mut self, name: &FunctionName, now: Instant) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let waiting: Vec<CallerKey> = group
            .lanes
            .iter()
            .flat_map(|lane| lane.waiting.iter().copied())
            .collect();
        for key in waiting {
            let Some(caller) = self.callers.get(&key) else {
                continue;
            };
            let queue = Some(now.saturating_duration_since(caller.arrived));
            let problem = match self.turned_away(name, caller.stdio) {
                // Those who were let in before the end of the node are still served.
                Some(problem) if problem.code != ProblemCode::Draining => problem,
                _ => continue,
            };
            self.refuse(
                key,
                problem,
                Phases {
                    queue,
                    ..Phases::default()
                },
            );
        }
    }

    /// Takes no new callers. Those who wait are served; what is idle ends.
    pub(crate) fn begin_drain(&mut self, now: Instant) {
        self.draining = true;
        self.lacking_spares.clear();
        let names: Vec<FunctionName> = self.groups.keys().cloned().collect();
        for name in names {
            self.settle(&name, now);
        }
    }

    /// While the node drains, what no caller waits for ends.
    pub(super) fn end_resting(&mut self, name: &FunctionName) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        if group.lanes.iter().any(|lane| !lane.waiting.is_empty()) {
            return;
        }
        let resting: Vec<InstanceKey> = group.idle.iter().chain(&group.spares).copied().collect();
        let starting: Vec<InstanceKey> = group.starting.iter().copied().collect();
        for key in resting {
            self.end(key, false);
        }
        for key in starting {
            self.cancel(key);
        }
    }

    /// Refuses every caller and ends every instance, working or not.
    pub(crate) fn end_all(&mut self) {
        self.draining = true;
        self.ended = true;
        let mut callers: Vec<CallerKey> = self.callers.keys().copied().collect();
        callers.sort();
        for caller in callers {
            self.refuse(caller, Problem::new(ProblemCode::Draining), Phases::default());
        }
        let mut instances: Vec<InstanceKey> = self.entries.keys().copied().collect();
        instances.sort();
        for key in instances {
            match self.entries.get(&key).map(|entry| entry.life) {
                Some(Life::Launching | Life::Readying) => self.cancel(key),
                Some(Life::Ready) => self.end(key, false),
                Some(Life::Ending { gentle: true }) => {
                    self.actions.push(super::Action::Hurry { instance: key });
                }
                _ => {}
            }
        }
    }
}
