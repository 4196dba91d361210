//! Finding instances fast: every change of an entry is bracketed by [`Pool::unindex`] and [`Pool::index`].

use std::time::Instant;

use skep_model::Recycle;

use super::types::{Life, Timer};
use super::{InstanceKey, Pool};

impl Pool {
    /// Takes an instance out of every list in which it may stand.
    pub(super) fn unindex(&mut self, key: InstanceKey) {
        let Some(entry) = self.entries.get(&key) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&entry.function.name) else {
            return;
        };
        group.starting.remove(&key);
        group.roomy.remove(&(entry.working(), key));
        // The most recently used one is the most likely to be taken: it stands last.
        if let Some(at) = group.idle.iter().rposition(|other| *other == key) {
            group.idle.remove(at);
        }
        if let Some(at) = group.spares.iter().position(|other| *other == key) {
            group.spares.remove(at);
        }
        self.resting.remove(&(entry.idle_since, key));
        self.waiting_spares.remove(&(entry.idle_since, key));
    }

    /// Puts an instance into the lists of those that may be given work.
    pub(super) fn index(&mut self, key: InstanceKey, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&entry.function.name) else {
            return;
        };
        let current = group
            .current
            .as_ref()
            .is_some_and(|current| current.revision == entry.function.revision);
        if !current || entry.spent {
            return;
        }
        match entry.life {
            Life::Launching | Life::Readying => {
                if !entry.bound {
                    group.starting.insert(key);
                }
            }
            Life::Ready if entry.working() > 0 => {
                if entry.has_room() {
                    group.roomy.insert((entry.working(), key));
                }
            }
            Life::Ready => {
                entry.idle_since = now;
                let settings = &entry.function.settings;
                let kept =
                    settings.recycle == Recycle::Request || group.spares.len() < settings.spares as usize;
                if entry.served == 0 && kept {
                    group.spares.push_back(key);
                    self.waiting_spares.insert((now, key));
                } else {
                    group.idle.push(key);
                    self.resting.insert((now, key));
                }
                self.arm_instance_timer(key);
            }
            Life::Ending { .. } => {}
        }
    }

    /// Marks an instance as taking no more work; its memory comes free without anybody's help.
    pub(super) fn become_spent(&mut self, key: InstanceKey) {
        self.unindex(key);
        if let Some(entry) = self.entries.get_mut(&key)
            && !entry.spent
            && !entry.ending()
        {
            entry.spent = true;
            self.memory_coming += entry.memory;
        }
    }

    /// From here on an instance only waits for [`Pool::removed`].
    pub(super) fn become_ending(&mut self, key: InstanceKey, gentle: bool) {
        self.become_spent(key);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if entry.life == Life::Launching {
            self.launching -= 1;
        }
        entry.life = Life::Ending { gentle };
        if let Some(at) = entry.timer.take() {
            self.timers.remove(&(at, Timer::Instance(key)));
        }
        if gentle {
            self.gentle.insert(key);
        }
        // A launch that was one caller's own, or begun for asynchronous work, counted as that work until now.
        self.release_launch(key);
    }
}
