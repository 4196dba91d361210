//! Callers: how they join a queue, what turns them away, how they leave.

use std::sync::Arc;
use std::time::Instant;

use skep_engine::Stdio;
use skep_model::{Function, FunctionName, Phases, Problem, ProblemCode};

use super::types::{Caller, Class, seats, stdio};
use super::{Action, CallerKey, Pool};

impl Pool {
    /// A caller wants an instance of this function, or of the newest revision of its name.
    pub(crate) fn arrive(
        &mut self,
        function: &Arc<Function>,
        stdio: Stdio,
        background: bool,
        now: Instant,
    ) -> CallerKey {
        let key = CallerKey(self.next());
        let class = Class::of(background);
        let name = function.name.clone();
        self.adopt(function, now);
        self.callers.insert(
            key,
            Caller {
                function: name.clone(),
                stdio,
                class,
                arrived: now,
                launch: None,
            },
        );
        if let Some(problem) = self.turned_away(&name, stdio) {
            self.refuse(key, problem, Phases::default());
            return key;
        }
        self.enqueue(key);
        self.settle(&name, now);
        if let Some(problem) = self.too_many(key, &name) {
            self.refuse(key, problem, Phases::default());
            self.settle(&name, now);
        }
        key
    }

    /// A caller went away before it had an answer.
    pub(crate) fn leave(&mut self, key: CallerKey, now: Instant) {
        let Some(caller) = self.callers.get(&key) else {
            return;
        };
        let bound = caller
            .launch
            .filter(|launch| self.entries.get(launch).is_some_and(|entry| entry.bound));
        let name = caller.function.clone();
        self.dequeue(key);
        if let Some(instance) = bound {
            self.cancel(instance);
        }
        self.settle(&name, now);
    }

    /// A function that nobody announced yet: its caller knew of it first. What was removed is not taken up again.
    fn adopt(&mut self, function: &Arc<Function>, now: Instant) {
        let known = self
            .groups
            .get(&function.name)
            .is_some_and(|group| group.current.is_some());
        let gone = self
            .gone
            .iter()
            .any(|(name, rev)| *name == function.name && *rev == function.revision);
        if !known && !gone && !self.draining {
            self.groups.entry(function.name.clone()).or_default().current = Some(Arc::clone(function));
            self.settle(&function.name, now);
        }
    }

    /// Why this caller need not wait at all.
    pub(super) fn turned_away(&self, name: &FunctionName, asked: Stdio) -> Option<Problem> {
        if self.draining {
            return Some(Problem::new(ProblemCode::Draining).retry_after(1));
        }
        let Some(function) = self.groups.get(name).and_then(|group| group.current.as_ref()) else {
            return Some(Problem::new(ProblemCode::NotFound));
        };
        if stdio(function) != asked {
            let problem = Problem::new(ProblemCode::StartFailed).retry_after(1);
            return Some(problem.detail("The function has just changed its handler; try again."));
        }
        let (need, budget) = (self.memory_of(function), self.config.memory_budget);
        (need > budget).then(|| {
            Problem::new(ProblemCode::NodeFull)
                .detail("One instance of this function needs more memory than this node may give.")
                .internal(format!(
                    "an instance of {name} is promised {need} bytes and the node's budget is {budget}: \
                     lower its memory limit or raise --memory-budget"
                ))
        })
    }

    /// Why this caller may not wait: those before it fill the queue. Callers for whom the function still may
    /// have an instance wait for the node, and count only there.
    fn too_many(&self, key: CallerKey, name: &FunctionName) -> Option<Problem> {
        let caller = self
            .callers
            .get(&key)
            .filter(|caller| caller.class == Class::Foreground)?;
        let group = self.groups.get(name)?;
        let function = group.current.as_ref()?;
        if caller.launch.is_some() {
            return None;
        }
        let more = (function.settings.max as usize).saturating_sub(group.instances.len());
        let allowed = function.settings.queue as usize + more.saturating_mul(seats(function) as usize);
        if group.lanes[Class::Foreground.index()].uncovered.len() > allowed {
            return Some(Problem::new(ProblemCode::QueueFull).retry_after(1));
        }
        (self.uncovered_foreground > self.config.queue)
            .then(|| Problem::new(ProblemCode::NodeFull).retry_after(1))
    }

    fn enqueue(&mut self, key: CallerKey) {
        let Some(caller) = self.callers.get(&key) else {
            return;
        };
        let lane = &mut self.groups.entry(caller.function.clone()).or_default().lanes[caller.class.index()];
        lane.waiting.insert(key);
        lane.uncovered.insert(key);
        self.uncovered_foreground += usize::from(caller.class == Class::Foreground);
    }

    /// Takes a caller out of everything that mentions it.
    pub(super) fn dequeue(&mut self, key: CallerKey) -> Option<Caller> {
        let caller = self.callers.remove(&key)?;
        if let Some(group) = self.groups.get_mut(&caller.function) {
            let lane = &mut group.lanes[caller.class.index()];
            lane.waiting.remove(&key);
            if lane.uncovered.remove(&key) && caller.class == Class::Foreground {
                self.uncovered_foreground -= 1;
            }
        }
        if let Some(entry) = caller.launch.and_then(|launch| self.entries.get_mut(&launch)) {
            entry.callers.remove(&key);
        }
        Some(caller)
    }

    /// Waits for a launch of its own again, since the one begun on its behalf is no more.
    pub(super) fn uncover(&mut self, key: CallerKey) {
        let Some(caller) = self.callers.get_mut(&key) else {
            return;
        };
        caller.launch = None;
        let Some(group) = self.groups.get_mut(&caller.function) else {
            return;
        };
        let lane = &mut group.lanes[caller.class.index()];
        if lane.waiting.contains(&key) && lane.uncovered.insert(key) && caller.class == Class::Foreground {
            self.uncovered_foreground += 1;
        }
    }

    /// Gives a launch up. Whoever waits for it must have been told or sent back to the queue before.
    pub(super) fn cancel(&mut self, instance: super::InstanceKey) {
        if self.entries.get(&instance).is_some_and(|entry| entry.starting()) {
            self.become_ending(instance, false);
            self.actions.push(Action::Cancel { instance });
        }
    }
}
