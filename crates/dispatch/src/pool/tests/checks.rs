//! What must hold after every event.

use super::bench::{Bench, Made};
use crate::pool::types::Life;

impl Bench {
    /// What the pool counts is what is there.
    pub(super) fn check(&self) {
        let pool = &self.pool;
        let memory: u64 = self
            .made
            .values()
            .map(|made| made.function.template.memory.unwrap_or(0))
            .sum();
        assert_eq!(pool.memory_used, memory);
        assert!(memory <= self.config.memory_budget, "the budget is exceeded");
        let launching = pool
            .entries
            .values()
            .filter(|entry| entry.life == Life::Launching)
            .count();
        assert_eq!(pool.launching, launching);
        assert!(launching <= self.config.concurrent_starts);
        let coming: u64 = pool
            .entries
            .values()
            .filter(|entry| entry.spent || entry.ending())
            .map(|entry| entry.memory)
            .sum();
        assert_eq!(pool.memory_coming, coming);
        let uncovered: usize = pool
            .groups
            .values()
            .map(|group| group.lanes[0].uncovered.len())
            .sum();
        assert_eq!(pool.uncovered_foreground, uncovered);
        assert_eq!(pool.callers.len(), self.waiting.len());
        for (name, group) in &pool.groups {
            let named = |made: &&Made| made.function.name == *name;
            let held: u64 = self
                .made
                .values()
                .filter(named)
                .map(|made| made.function.template.memory.unwrap_or(0))
                .sum();
            assert_eq!(group.memory, held);
            for class in 0..2 {
                let working: u64 = pool
                    .entries
                    .values()
                    .filter(|entry| entry.function.name == *name)
                    .map(|entry| u64::from(entry.in_flight[class]))
                    .sum();
                let own = pool
                    .entries
                    .values()
                    .filter(|e| e.function.name == *name && e.bound && e.starting())
                    .filter(|e| e.class as usize == class)
                    .count() as u64;
                if !self.merciless {
                    assert_eq!(group.in_flight[class], working + own, "{name} {class}");
                }
            }
        }
        if !self.merciless {
            self.check_no_idleness();
        }
    }

    /// Nobody waits for a launch that could begin, unless the next one is reserved for another function.
    fn check_no_idleness(&self) {
        let pool = &self.pool;
        if pool.launching >= self.config.concurrent_starts || !pool.blocked.is_empty() {
            return;
        }
        for group in pool.groups.values() {
            let Some(function) = &group.current else { continue };
            let may = group.instances.len() < function.settings.max as usize
                && pool.memory_of(function) <= self.config.memory_budget - pool.memory_used;
            assert!(
                !may || group.lanes[0].uncovered.is_empty(),
                "{} waits for nothing",
                function.name
            );
        }
    }
}
