//! What happens to an instance after it became ready.

use std::time::Instant;

use super::types::{Class, Life};
use super::{Action, InstanceKey, Pool};
use crate::work::Fate;

impl Pool {
    /// An invocation gives its instance back. `unused`: its caller had gone before it was handed over.
    pub(crate) fn finished(
        &mut self,
        key: InstanceKey,
        background: bool,
        fate: Fate,
        unused: bool,
        now: Instant,
    ) {
        self.unindex(key);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let class = Class::of(background);
        let name = entry.function.name.clone();
        entry.in_flight[class.index()] -= 1;
        self.background -= usize::from(background);
        if unused && !entry.bound {
            entry.served -= 1;
        }
        let limit = entry.function.settings.recycle.limit().unwrap_or(u64::MAX);
        let used_up = match fate {
            Fate::Reusable => false,
            Fate::Abandoned => entry.working() == 0,
            Fate::Spent => true,
        };
        let spent = used_up || entry.served >= limit || entry.bound;
        let ending = entry.ending();
        if let Some(group) = self.groups.get_mut(&name) {
            group.in_flight[class.index()] -= 1;
        }
        let mut stays = false;
        if !ending {
            let unwanted = self.draining && !self.has_waiting(&name);
            let gives_way = !spent && self.above_share(&name);
            self.totals.evicted += u64::from(gives_way);
            stays = !(spent || unwanted || gives_way);
            if !stays {
                self.become_spent(key);
            }
            self.end_when_done(key);
            self.index(key, now);
        }
        if !stays || self.draining || self.has_waiting(&name) || self.somebody_wants_a_launch() {
            self.settle(&name, now);
        }
    }

    /// Whether an instance that became idle, or memory that came free, may be of use to anybody.
    fn somebody_wants_a_launch(&self) -> bool {
        !self.blocked.is_empty()
            || !self.lacking_spares.is_empty()
            || self.rings.iter().any(|ring| !ring.is_empty())
    }

    fn has_waiting(&self, name: &skep_model::FunctionName) -> bool {
        self.groups
            .get(name)
            .is_some_and(|group| group.lanes.iter().any(|lane| !lane.waiting.is_empty()))
    }

    /// Ends an instance that takes no more work, once it has none.
    pub(super) fn end_when_done(&mut self, key: InstanceKey) {
        let done =
            |entry: &super::types::Entry| entry.spent && entry.working() == 0 && entry.life == Life::Ready;
        if self.entries.get(&key).is_some_and(done) {
            self.end(key, false);
        }
    }

    /// Has an instance removed. The caller of this has made sure that it does not work.
    pub(super) fn end(&mut self, key: InstanceKey, gentle: bool) {
        if self.entries.get(&key).is_some_and(|entry| !entry.ending()) {
            self.become_ending(key, gentle);
            self.actions.push(Action::End {
                instance: key,
                gentle,
            });
        }
    }

    /// An instance that was ready ended by itself. With work, its users learn it from their own connections.
    pub(crate) fn exited(&mut self, key: InstanceKey, code: i64, now: Instant) {
        let Some(entry) = self.entries.get(&key).filter(|entry| entry.life == Life::Ready) else {
            return;
        };
        let name = entry.function.name.clone();
        if entry.served == 0 {
            self.totals.launch_failures += 1;
            self.note_failure(
                &name,
                format!("a spare ended by itself with exit code {code}"),
                now,
            );
        }
        self.become_spent(key);
        self.end_when_done(key);
        self.settle(&name, now);
    }

    /// Nothing of the instance is left.
    pub(crate) fn removed(&mut self, key: InstanceKey, now: Instant) {
        self.become_ending(key, false);
        let Some(entry) = self.entries.remove(&key) else {
            return;
        };
        self.gentle.remove(&key);
        self.memory_used -= entry.memory;
        self.memory_coming -= entry.memory;
        let name = entry.function.name.clone();
        if let Some(group) = self.groups.get_mut(&name) {
            group.instances.remove(&key);
            group.memory -= entry.memory;
        }
        self.settle(&name, now);
    }

    /// The engine could not freeze the instance: it stays as it is.
    pub(crate) fn freeze_failed(&mut self, key: InstanceKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.frozen = false;
            entry.unfreezable = true;
        }
    }
}
