//! Memory: who makes room for a launch, and how much a function may hold while others wait for some.

use std::time::Instant;

use skep_model::FunctionName;

use super::{Action, InstanceKey, Pool};

impl Pool {
    /// The memory that is free, or held by instances that have been idle for a while; no more than asked for.
    pub(super) fn free_or_rested(&self, enough: u64, now: Instant) -> u64 {
        let mut found = self.config.memory_budget - self.memory_used;
        for (since, key) in &self.resting {
            if found >= enough || *since + self.config.freeze_after > now {
                break;
            }
            found += self.entries.get(key).map_or(0, |entry| entry.memory);
        }
        found
    }

    /// A function at its `max` waits for its own endings only.
    pub(super) fn hurry_own(&mut self, name: &FunctionName, full: bool) {
        let own = |key: &&InstanceKey| {
            self.entries
                .get(key)
                .is_some_and(|entry| entry.function.name == *name)
        };
        if let Some(key) = self.gentle.iter().find(own).copied().filter(|_| full) {
            self.gentle.remove(&key);
            self.actions.push(Action::Hurry { instance: key });
        }
    }

    /// Ends what is idle until `need` bytes will be free: the longest idle first, then spares of others.
    pub(super) fn make_room(&mut self, name: &FunctionName, need: u64) {
        while let Some(key) = self.gentle.pop_first() {
            self.actions.push(Action::Hurry { instance: key });
        }
        while self.config.memory_budget - self.memory_used + self.memory_coming < need {
            let others = |key: &InstanceKey| {
                self.entries
                    .get(key)
                    .is_some_and(|entry| entry.function.name != *name)
            };
            let idle = self.resting.first().map(|(_, key)| *key);
            let spare = || self.waiting_spares.iter().map(|(_, key)| *key).find(others);
            let Some(victim) = idle.or_else(spare) else {
                return;
            };
            self.totals.evicted += 1;
            let function = self.entries.get(&victim).map(|entry| entry.function.name.clone());
            self.end(victim, false);
            if let Some(function) = function {
                self.join_rings(&function);
            }
        }
    }

    /// What a function may hold while others wait for memory: as much as each of them, and no more than leaves room
    /// for the largest of them.
    fn share(&self, name: &FunctionName) -> Option<u64> {
        let others = || {
            self.blocked
                .iter()
                .filter(|(other, _)| *other != name)
                .map(|(_, need)| *need)
        };
        let largest = others().max()?;
        let budget = self.config.memory_budget;
        Some((budget / (others().count() as u64 + 1)).min(budget - largest))
    }

    /// Whether one more instance would leave the function within its share; everybody may have one.
    pub(super) fn entitled(&self, name: &FunctionName) -> bool {
        let Some(group) = self.groups.get(name) else {
            return true;
        };
        let need = group
            .current
            .as_ref()
            .map_or(0, |function| self.memory_of(function));
        group.memory == 0 || self.share(name).is_none_or(|share| group.memory + need <= share)
    }

    /// Whether a function should give memory up as its instances finish: it has more than its share, and what
    /// comes free by itself is not enough for those who wait.
    pub(super) fn above_share(&self, name: &FunctionName) -> bool {
        let Some(share) = self.share(name) else {
            return false;
        };
        let need: u64 = self
            .blocked
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(_, need)| *need)
            .sum();
        let coming = self.config.memory_budget - self.memory_used + self.memory_coming;
        coming < need && self.groups.get(name).is_some_and(|group| group.memory > share)
    }
}
