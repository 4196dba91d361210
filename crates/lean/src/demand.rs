//! How many instances of a function are worth having prepared: a decision without a clock or I/O of its own.

use std::time::{Duration, Instant};

/// Who was not asked for so long has none; whoever is to have some was asked twice in this time.
pub(crate) const LATELY: Duration = Duration::from_secs(10);
/// The most for one sandbox.
const MOST: usize = 4;

/// When a function was asked for, and by how many at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demand {
    last: Option<Instant>,
    /// Until when it counts as asked for again and again.
    until: Option<Instant>,
    /// The most at once in this stretch of time and in the one before, and when this one began.
    most: usize,
    most_before: usize,
    since: Option<Instant>,
}

impl Demand {
    /// Takes in that somebody asks, with so many at work, this one among them.
    pub(crate) fn asked(&mut self, now: Instant, at_work: usize) {
        if self.last.is_some_and(|last| now - last < LATELY) {
            self.until = Some(now + LATELY);
        }
        self.last = Some(now);
        match self.since {
            Some(since) if now - since < LATELY => {}
            Some(since) => {
                self.most_before = if now - since < 2 * LATELY { self.most } else { 0 };
                (self.most, self.since) = (0, Some(now));
            }
            None => self.since = Some(now),
        }
        self.most = self.most.max(at_work);
    }

    /// How many are worth having now.
    pub(crate) fn wanted(&self, now: Instant) -> usize {
        if self.until.is_some_and(|until| now < until) {
            self.most.max(self.most_before).min(MOST)
        } else {
            0
        }
    }

    /// When nobody will have asked for long enough, if nobody asks before.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_is_asked_once_has_none_and_who_is_asked_again_has_as_many_as_were_at_work() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        demand.asked(now, 1);
        assert_eq!(demand.wanted(now), 0);
        demand.asked(now + LATELY / 2, 1);
        assert_eq!(demand.wanted(now + LATELY / 2), 1);
        demand.asked(now + LATELY / 2, 3);
        assert_eq!(demand.wanted(now + LATELY / 2), 3);
        demand.asked(now + LATELY / 2, 30);
        assert_eq!(demand.wanted(now + LATELY / 2), MOST);
    }

    #[test]
    fn after_a_while_without_a_caller_none_is_wanted_and_a_single_one_changes_nothing() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        demand.asked(now, 2);
        demand.asked(now, 2);
        assert_eq!(demand.wanted(now + LATELY / 2), 2);
        assert_eq!(demand.wanted(now + LATELY), 0);
        demand.asked(now + 2 * LATELY, 1);
        assert_eq!(demand.wanted(now + 2 * LATELY), 0);
    }

    #[test]
    fn what_was_wanted_at_once_long_ago_is_not_wanted_any_more() {
        let (mut demand, mut now) = (Demand::default(), Instant::now());
        demand.asked(now, 4);
        for _ in 0..30 {
            now += LATELY / 10;
            demand.asked(now, 1);
        }
        assert_eq!(demand.wanted(now), 1);
    }
}
