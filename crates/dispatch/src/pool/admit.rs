//! Which launch the node begins next: turns between functions, for callers first and then for spares.

use std::time::Instant;

use skep_model::FunctionName;

use super::serve::SHARE;
use super::types::Class;
use super::{InstanceKey, Pool};

/// So many launches of other functions may overtake one that waits for memory; then it is the next.
pub(super) const OVERTAKERS: u32 = 16;

/// What became of one function's turn.
enum Turn {
    Begun,
    /// It needs none, or may have no more for now: it comes back when that changes.
    Over,
    /// It yields to callers who wait, and keeps its place.
    Yields,
    /// There is no memory for it yet.
    NoMemory,
}

/// What became of the turns of one class.
enum Round {
    Begun,
    /// The next launch is reserved for a function that was overtaken often enough.
    Held,
    Nothing,
}

impl Pool {
    /// Lets the function take part in the turns of each class in which it has callers without a launch.
    pub(super) fn join_rings(&mut self, name: &FunctionName) {
        let Some(group) = self.groups.get_mut(name) else {
            self.blocked.remove(name);
            return;
        };
        for class in Class::ALL {
            let index = class.index();
            if !group.lanes[index].uncovered.is_empty() && !group.in_ring[index] {
                group.in_ring[index] = true;
                self.rings[index].push_back(name.clone());
            }
        }
        if group.lanes.iter().all(|lane| lane.uncovered.is_empty()) {
            self.blocked.remove(name);
        }
        let free_starts = self.free_starts(name);
        let lacks = self
            .groups
            .get(name)
            .is_some_and(|group| group.spares_missing(free_starts) > 0);
        if lacks && !self.draining {
            self.lacking_spares.insert(name.clone());
        } else {
            self.lacking_spares.remove(name);
        }
    }

    /// Launches under way for which nobody waits: they become spares.
    fn free_starts(&self, name: &FunctionName) -> usize {
        let Some(group) = self.groups.get(name) else {
            return 0;
        };
        let free = |key: &&InstanceKey| {
            self.entries
                .get(key)
                .is_some_and(|entry| entry.callers.is_empty())
        };
        group.starting.iter().filter(free).count()
    }

    /// Begins launches while the engine may be given more and somebody's turn can be had.
    pub(super) fn admit(&mut self, now: Instant) {
        while self.launching < self.config.concurrent_starts && !self.ended {
            let due = self.turns + 1 >= SHARE && !self.rings[Class::Background.index()].is_empty();
            let order = if due {
                [Class::Background, Class::Foreground]
            } else {
                Class::ALL
            };
            let mut begun = false;
            for class in order {
                match self.round(class, due, now) {
                    Round::Begun => {
                        begun = true;
                        self.count_overtaken(due && class == Class::Foreground);
                    }
                    Round::Held => return,
                    Round::Nothing => continue,
                }
                break;
            }
            if !begun {
                break;
            }
        }
        self.launch_spares(now);
    }

    /// Asynchronous work whose turn it was, and who found no memory, was overtaken as well.
    fn count_overtaken(&mut self, passed: bool) {
        if let Some(name) = self.rings[Class::Background.index()].front().filter(|_| passed)
            && self.blocked.contains_key(name)
            && let Some(group) = self.groups.get_mut(name)
        {
            group.overtaken += 1;
        }
    }

    /// Begins one launch of a class. While some wait for memory, those come first who hold no more than their share.
    fn round(&mut self, class: Class, due: bool, now: Instant) -> Round {
        if !self.blocked.is_empty() {
            let round = self.pass(class, due, true, now);
            if !matches!(round, Round::Nothing) {
                return round;
            }
        }
        self.pass(class, due, false, now)
    }

    /// Goes through the functions of a class until one launch is begun.
    fn pass(&mut self, class: Class, due: bool, entitled_only: bool, now: Instant) -> Round {
        let mut passed = Vec::new();
        let mut reserved = 0;
        let mut outcome = Round::Nothing;
        while let Some(name) = self.rings[class.index()].pop_front() {
            if entitled_only && !self.entitled(&name) {
                passed.push((name, false));
                continue;
            }
            match self.turn(&name, class, due, reserved, now) {
                Turn::Begun => {
                    self.turns = match class {
                        Class::Foreground if !self.rings[Class::Background.index()].is_empty() => {
                            self.turns + 1
                        }
                        _ => 0,
                    };
                    self.requeue(name, class);
                    outcome = Round::Begun;
                    break;
                }
                Turn::Over => {
                    self.blocked.remove(&name);
                    self.leave_ring(&name, class);
                }
                Turn::Yields => passed.push((name, false)),
                Turn::NoMemory => {
                    reserved += self.blocked.get(&name).copied().unwrap_or(0);
                    let held = self
                        .groups
                        .get(&name)
                        .is_some_and(|group| group.overtaken >= OVERTAKERS);
                    passed.push((name, true));
                    if held {
                        outcome = Round::Held;
                        break;
                    }
                }
            }
        }
        for (name, blocked) in passed.into_iter().rev() {
            if blocked
                && matches!(outcome, Round::Begun)
                && let Some(group) = self.groups.get_mut(&name)
            {
                group.overtaken += 1;
            }
            self.rings[class.index()].push_front(name);
        }
        outcome
    }

    fn leave_ring(&mut self, name: &FunctionName, class: Class) {
        if let Some(group) = self.groups.get_mut(name) {
            group.in_ring[class.index()] = false;
        }
    }

    /// After its turn a function stands last, if it has callers left.
    fn requeue(&mut self, name: FunctionName, class: Class) {
        let Some(group) = self.groups.get_mut(&name) else {
            return;
        };
        if group.lanes[class.index()].uncovered.is_empty() {
            group.in_ring[class.index()] = false;
        } else {
            self.rings[class.index()].push_back(name);
        }
    }

    fn turn(&mut self, name: &FunctionName, class: Class, due: bool, reserved: u64, now: Instant) -> Turn {
        let Some(group) = self.groups.get(name) else {
            return Turn::Over;
        };
        let Some(function) = group.current.as_ref() else {
            return Turn::Over;
        };
        let full = group.instances.len() >= function.settings.max as usize;
        let asynchronous = class == Class::Background;
        if group.lanes[class.index()].uncovered.is_empty() || full {
            self.hurry_own(name, full);
            return Turn::Over;
        }
        if asynchronous && !group.background_may(true) {
            return Turn::Over;
        }
        let need = self.memory_of(function);
        let free = self.config.memory_budget - self.memory_used;
        let kept = need.saturating_add(self.config.memory_budget / 4);
        if asynchronous && !due && self.background > 0 && self.free_or_rested(kept, now) < kept {
            return Turn::Yields;
        }
        if need > free {
            self.make_room(name, need.saturating_add(reserved));
            self.blocked.insert(name.clone(), need);
            return Turn::NoMemory;
        }
        self.launch(name, Some(class), now);
        Turn::Begun
    }

    /// Launches spares with what callers leave over; nobody makes room for them.
    fn launch_spares(&mut self, now: Instant) {
        if self.draining || !self.blocked.is_empty() {
            return;
        }
        let lacking: Vec<FunctionName> = self.lacking_spares.iter().cloned().collect();
        for name in lacking {
            while self.launching < self.config.concurrent_starts && self.may_launch_spare(&name, now) {
                self.launch(&name, None, now);
            }
            let missing = self
                .groups
                .get(&name)
                .map_or(0, |g| g.spares_missing(self.free_starts(&name)));
            if missing == 0 {
                self.lacking_spares.remove(&name);
            }
        }
    }

    fn may_launch_spare(&self, name: &FunctionName, now: Instant) -> bool {
        let Some(group) = self.groups.get(name) else {
            return false;
        };
        let Some(function) = group.current.as_ref() else {
            return false;
        };
        let waits = group.retry_at.is_some_and(|at| at > now);
        let free = self.config.memory_budget - self.memory_used;
        !waits
            && group.instances.len() < function.settings.max as usize
            && self.memory_of(function) <= free
            && group.spares_missing(self.free_starts(name)) > 0
    }
}
