//! How `skep.max` is shared out over tasks.

use std::time::Duration;

use skep_model::{PortChoice, Recycle, SandboxChoice, Settings};

/// What bounds a function's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instances at once, on the whole cluster; at least 1.
    pub max: u32,
    /// The most tasks; at least 1.
    pub tasks: u32,
    /// The fewest tasks.
    pub floor: u32,
    /// Invocations at once in one instance; at least 1.
    pub concurrency: u32,
    /// How long a task is kept that isn't needed.
    pub idle: Duration,
}

impl Limits {
    /// What a function's labels say. `alone`: a node said that its instances can't stand side by side, for a reason that
    /// labels don't show.
    pub fn of(settings: &Settings, alone: bool) -> Self {
        // One instance at a time where two could not stand side by side.
        let alone = alone
            || settings.sandbox == SandboxChoice::Private
            || matches!(settings.port, PortChoice::Fixed(_));
        let slots = if alone { 1 } else { settings.slots.max(1) };
        let max = settings.max.max(1);
        let tasks = max.div_ceil(slots);
        // Spares are instances, and need a task that holds them.
        let spares = settings.spares.div_ceil(slots);
        Self {
            max,
            tasks,
            floor: settings.sandboxes.max(spares).min(tasks),
            concurrency: match settings.recycle {
                Recycle::Request => 1,
                Recycle::Idle | Recycle::After(_) => settings.concurrency.max(1),
            },
            idle: settings.idle,
        }
    }

    /// The instances that task number `number` (from 1) may run: the shares of all numbers add up to `max`.
    pub fn share(&self, number: u32) -> u32 {
        if number == 0 || number > self.tasks {
            return 0;
        }
        self.max / self.tasks + u32::from(number <= self.max % self.tasks)
    }

    /// The slots for which a task's limits are multiplied: the largest share.
    pub fn slots(&self) -> u32 {
        self.max.div_ceil(self.tasks)
    }

    /// The invocations at once that the first so many tasks hold.
    pub fn room(&self, tasks: u32) -> u64 {
        let instances =
            u64::from(self.max / self.tasks) * u64::from(tasks) + u64::from(tasks.min(self.max % self.tasks));
        instances * u64::from(self.concurrency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_shares_of_all_tasks_add_up_to_the_limit(max in 1u32..5_000, slots in 1u32..200) {
            let limits = Limits {
                max,
                tasks: max.div_ceil(slots),
                floor: 0,
                concurrency: 1,
                idle: Duration::from_secs(60),
            };
            let shares = (1..=limits.tasks).map(|number| limits.share(number));
            prop_assert_eq!(shares.clone().sum::<u32>(), max);
            prop_assert!(shares.max() <= Some(slots));
            prop_assert_eq!(limits.share(limits.tasks + 1), 0);
            prop_assert_eq!(limits.room(limits.tasks), u64::from(max));
            prop_assert_eq!(limits.slots(), limits.share(1));
        }
    }
}
