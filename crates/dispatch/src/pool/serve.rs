//! Matching callers with instances that are ready.

use std::time::Instant;

use skep_engine::Stdio;
use skep_model::FunctionName;

use super::types::{Class, Grant, Group, Life, seats, stdio};
use super::{Action, CallerKey, InstanceKey, Pool};

/// Of this many grants in a row one goes to asynchronous work, where some waits.
pub(super) const SHARE: u32 = 8;

impl Group {
    /// How many invocations of asynchronous work may be in the function's instances: three quarters of what fits,
    /// and at least one.
    fn background_limit(&self) -> u64 {
        let capacity = self.current.as_ref().map_or(0, |function| {
            u64::from(function.settings.max) * u64::from(seats(function))
        });
        (capacity - capacity / 4).max(1)
    }

    /// Whether asynchronous work may have one more instance, counting launches on its behalf if `launching`.
    pub(super) fn background_may(&self, launching: bool) -> bool {
        let lane = &self.lanes[Class::Background.index()];
        let covered = (lane.waiting.len() - lane.uncovered.len()) as u64;
        self.in_flight[Class::Background.index()] + if launching { covered } else { 0 }
            < self.background_limit()
    }

    /// The caller whose turn it is.
    fn next_caller(&self) -> Option<CallerKey> {
        let [foreground, background] = &self.lanes;
        let asynchronous = background.waiting.first().filter(|_| self.background_may(false));
        let due = self.turns + 1 >= SHARE;
        let next = if due {
            asynchronous.or(foreground.waiting.first())
        } else {
            foreground.waiting.first()
        };
        next.or(asynchronous).copied()
    }

    /// Counts who had the turn, so that asynchronous work gets its share while it waits.
    pub(super) fn count_turn(&mut self, class: Class) {
        let waits = !self.lanes[Class::Background.index()].waiting.is_empty();
        self.turns = if class == Class::Foreground && waits {
            self.turns.saturating_add(1)
        } else {
            0
        };
    }
}

impl Pool {
    /// Hands ready instances to callers while there are both.
    pub(super) fn serve(&mut self, name: &FunctionName, now: Instant) {
        loop {
            let Some(group) = self.groups.get(name) else {
                return;
            };
            // Callers of exec and cgi wait for instances of their own.
            if !group
                .current
                .as_ref()
                .is_some_and(|function| stdio(function) == Stdio::Log)
            {
                return;
            }
            let (Some(caller), Some(instance)) = (group.next_caller(), self.available(group)) else {
                return;
            };
            self.grant(caller, instance, now);
        }
    }

    /// The instance that the next caller gets: the one used last, before it cools down; else one that has room
    /// beside other work; else one that must be thawed; else a fresh one.
    fn available(&self, group: &Group) -> Option<InstanceKey> {
        let last = group.idle.last().copied();
        let frozen = |key: InstanceKey| self.entries.get(&key).is_some_and(|entry| entry.frozen);
        last.filter(|key| !frozen(*key))
            .or_else(|| group.roomy.first().map(|(_, key)| *key))
            .or(last)
            .or_else(|| group.spares.front().copied())
    }

    /// An instance for a caller who need not wait: one that has served before has room, and nobody waits for it.
    /// It is the one that [`Pool::arrive`] would grant, only that the caller never stands in a queue, and that
    /// nobody else's turn need be looked at: a caller who is served at once leaves nothing behind for others.
    pub(crate) fn at_once(&mut self, name: &FunctionName, now: Instant) -> Option<(InstanceKey, Grant)> {
        let group = self.groups.get(name).filter(|_| !self.draining)?;
        let spoken_to = group.current.as_ref().map(|function| stdio(function));
        if spoken_to != Some(Stdio::Log) || group.lanes.iter().any(|lane| !lane.waiting.is_empty()) {
            return None;
        }
        let instance = self.available(group)?;
        let entry = self.entries.get(&instance)?;
        if entry.served == 0 || entry.frozen {
            return None;
        }
        let grant = self.give(instance, Class::Foreground, now, now)?;
        Some((instance, grant))
    }

    /// Grants an instance to a caller.
    pub(super) fn grant(&mut self, key: CallerKey, instance: InstanceKey, now: Instant) {
        let Some(caller) = self.dequeue(key) else { return };
        if let Some(grant) = self.give(instance, caller.class, caller.arrived, now) {
            self.actions.push(Action::Grant {
                caller: key,
                instance,
                grant,
            });
        }
    }

    /// One more invocation in an instance, of a caller who arrived then.
    fn give(&mut self, instance: InstanceKey, class: Class, arrived: Instant, now: Instant) -> Option<Grant> {
        self.unindex(instance);
        let entry = self.entries.get_mut(&instance)?;
        let cold = entry.served == 0 && entry.began >= arrived;
        let until = if cold { entry.began } else { now };
        let grant = Grant {
            queue: until.saturating_duration_since(arrived),
            cold,
            reused: entry.served > 0,
            thaw: std::mem::take(&mut entry.frozen),
        };
        entry.served += 1;
        entry.in_flight[class.index()] += 1;
        let asynchronous = usize::from(class == Class::Background);
        if entry.bound {
            // Its launch counted as this work already.
            entry.class = Class::Foreground;
        } else {
            self.background += asynchronous;
        }
        let bound = entry.bound;
        if let Some(group) = self.groups.get_mut(&entry.function.name) {
            group.failures = 0;
            if !bound {
                group.in_flight[class.index()] += 1;
                group.count_turn(class);
            }
        }
        match (cold, grant.reused) {
            (true, _) => self.totals.cold += 1,
            (false, true) => self.totals.reused += 1,
            (false, false) => self.totals.spare += 1,
        }
        self.index(instance, now);
        Some(grant)
    }

    /// Lets callers wait for launches that are under way and have room, before new ones are begun.
    pub(super) fn cover_by_starting(&mut self, name: &FunctionName) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        if group.lanes.iter().all(|lane| lane.uncovered.is_empty()) {
            return;
        }
        let Some(room) = group.current.as_ref().map(|function| seats(function) as usize) else {
            return;
        };
        let starting: Vec<InstanceKey> = group.starting.iter().copied().collect();
        for instance in starting {
            let free = |pool: &Self| {
                let entry = pool.entries.get(&instance)?;
                let open =
                    entry.callers.len() < room && matches!(entry.life, Life::Launching | Life::Readying);
                let group = pool.groups.get(name).filter(|_| open)?;
                let [foreground, background] = &group.lanes;
                let asynchronous = background
                    .uncovered
                    .first()
                    .filter(|_| group.background_may(true));
                foreground.uncovered.first().or(asynchronous).copied()
            };
            while let Some(caller) = free(self) {
                self.cover(caller, instance);
            }
        }
    }
}
