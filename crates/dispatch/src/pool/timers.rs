//! Time: one ordered set of timers for all, at most one for each instance and two for each function. A timer is
//! not moved when its instance is used; when it is due it looks and is set again if it came too early.

use std::time::{Duration, Instant};

use skep_model::{FunctionName, Phases, Problem, ProblemCode, Recycle};

use super::types::{Class, Life, Timer};
use super::{Action, CallerKey, InstanceKey, Pool};

/// Beyond waiting and getting ready, a launch may take this long before its caller is told; the driver gives a
/// stalled engine up earlier, so that this is only the last net.
const PATIENCE: Duration = Duration::from_secs(60);

impl Pool {
    /// When [`Pool::tick`] must be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does everything that is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((at, timer)) = self.timers.first().cloned().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer.clone()));
            match timer {
                Timer::Instance(key) => self.rested(key, now),
                Timer::Queue(name) => self.queue_waited(&name, now),
                Timer::Retry(name) => {
                    if let Some(group) = self.groups.get_mut(&name) {
                        group.retry_at = None;
                    }
                    self.settle(&name, now);
                }
            }
        }
    }

    /// When an idle instance is to be frozen, or ended.
    fn next_rest(&self, key: InstanceKey) -> Option<Instant> {
        let entry = self
            .entries
            .get(&key)
            .filter(|entry| entry.life == Life::Ready && entry.working() == 0)?;
        let settings = &entry.function.settings;
        if self.waiting_spares.contains(&(entry.idle_since, key)) {
            let group = self.groups.get(&entry.function.name)?;
            let surplus = group.spares.len() > settings.spares as usize;
            return surplus.then(|| entry.idle_since + self.config.surplus_after);
        }
        let end = entry.idle_since + settings.idle;
        let freeze = entry.idle_since + self.config.freeze_after;
        let freezes = !entry.frozen && !entry.unfreezable && settings.recycle != Recycle::Request;
        Some(if freezes { freeze.min(end) } else { end })
    }

    pub(super) fn arm_instance_timer(&mut self, key: InstanceKey) {
        if self.entries.get(&key).is_none_or(|entry| entry.timer.is_some()) {
            return;
        }
        if let Some(at) = self.next_rest(key)
            && let Some(entry) = self.entries.get_mut(&key)
        {
            entry.timer = Some(at);
            self.timers.insert((at, Timer::Instance(key)));
        }
    }

    /// An instance may have been idle for long.
    fn rested(&mut self, key: InstanceKey, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.timer = None;
        }
        let due = self.next_rest(key).is_some_and(|at| at <= now);
        let Some(entry) = self.entries.get_mut(&key).filter(|_| due) else {
            return self.arm_instance_timer(key);
        };
        let name = entry.function.name.clone();
        let spare = self.waiting_spares.contains(&(entry.idle_since, key));
        if spare || now >= entry.idle_since + entry.function.settings.idle {
            let used = entry.served > 0;
            self.end(key, used);
            return self.settle(&name, now);
        }
        entry.frozen = true;
        self.actions.push(Action::Freeze { instance: key });
        self.arm_instance_timer(key);
        // Asynchronous work may have its room from here on.
        self.admit(now);
    }

    /// Sees to it that the first caller of the queue is looked at in time.
    pub(super) fn arm_queue_timer(&mut self, name: &FunctionName) {
        let Some(group) = self.groups.get(name).filter(|group| group.queue_timer.is_none()) else {
            return;
        };
        let first = group.lanes[Class::Foreground.index()].waiting.first();
        let (Some(function), Some(caller)) =
            (group.current.as_ref(), first.and_then(|c| self.callers.get(c)))
        else {
            return;
        };
        let at = caller.arrived + function.settings.timeout;
        self.set_queue_timer(name, at);
    }

    fn set_queue_timer(&mut self, name: &FunctionName, at: Instant) {
        if let Some(group) = self.groups.get_mut(name) {
            group.queue_timer = Some(at);
            self.timers.insert((at, Timer::Queue(name.clone())));
        }
    }

    /// Callers who wait for the answer wait no longer than the function's timeout for an instance to be theirs.
    /// One for whom a launch was begun waits for what becomes of that. Asynchronous work waits as long as it takes.
    fn queue_waited(&mut self, name: &FunctionName, now: Instant) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        group.queue_timer = None;
        let Some(timeout) = group.current.as_ref().map(|function| function.settings.timeout) else {
            return;
        };
        let mut waiting: Vec<CallerKey> = Vec::new();
        for key in &group.lanes[Class::Foreground.index()].waiting {
            waiting.push(*key);
            // Whoever comes later in the queue is due later.
            if self
                .callers
                .get(key)
                .is_some_and(|caller| caller.arrived + timeout > now)
            {
                break;
            }
        }
        let mut next: Option<Instant> = None;
        for key in waiting {
            let Some(caller) = self.callers.get(&key) else {
                continue;
            };
            let (arrived, covered) = (caller.arrived, caller.launch.is_some());
            let at = arrived + timeout;
            // Before its time is over nobody knows whether it will be covered by then.
            let last = if covered && at <= now {
                at + timeout + PATIENCE
            } else {
                at
            };
            if last <= now {
                let code = if covered {
                    ProblemCode::NotReady
                } else {
                    ProblemCode::QueueTimeout
                };
                let queue = Some(now.saturating_duration_since(arrived));
                self.refuse(
                    key,
                    Problem::new(code),
                    Phases {
                        queue,
                        ..Phases::default()
                    },
                );
                continue;
            }
            next = Some(next.map_or(last, |next| next.min(last)));
        }
        if let Some(at) = next {
            self.set_queue_timer(name, at);
        }
        self.settle(name, now);
    }
}
