//! How many records are kept when there are more than anybody will look at.
//!
//! Writing a record takes about as much time as passing a request on to an instance that is there already. So what
//! a function may have kept is bounded: a little that is its own, whatever others do, and beyond that what is left
//! of a share of the whole node. A function that is called now and then has all its records, one that answers
//! thousands of requests a second has some, and failures are not lost among successes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A rate that may be exceeded for a while by what was not used before.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: f64,
    burst: f64,
}

/// What one function may keep, of each kind.
const OWN: Rate = Rate {
    per_second: 50.0,
    burst: 1_000.0,
};
/// What all of them may keep beyond that, of each kind.
const SHARED: Rate = Rate {
    per_second: 500.0,
    burst: 5_000.0,
};

/// Whether an invocation did what it should: both kinds have quotas of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Succeeded,
    Failed,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: Rate, at: Instant) -> Self {
        Self {
            rate,
            left: rate.burst,
            at,
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate.per_second).min(self.rate.burst);
        self.at = self.at.max(now);
    }

    fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= self.rate.burst
    }
}

/// The quotas of a node.
#[derive(Debug)]
pub(crate) struct Quota(Mutex<[Share; 2]>);

#[derive(Debug)]
struct Share {
    shared: Bucket,
    own: HashMap<String, Bucket>,
}

impl Quota {
    pub(crate) fn new(now: Instant) -> Self {
        let share = || Share {
            shared: Bucket::new(SHARED, now),
            own: HashMap::new(),
        };
        Self(Mutex::new([share(), share()]))
    }

    /// Whether one more record of this function is to be kept.
    pub(crate) fn admits(&self, function: &str, kind: Kind, now: Instant) -> bool {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Share { shared, own } = &mut shares[kind as usize];
        if !own.contains_key(function) {
            // Those that rest are as good as new ones: they need not be remembered.
            own.retain(|_, bucket| !bucket.is_full(now));
            own.insert(function.to_owned(), Bucket::new(OWN, now));
        }
        own.get_mut(function).is_some_and(|bucket| bucket.take(now)) || shared.take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kept(quota: &Quota, function: &str, kind: Kind, of: usize, now: Instant) -> usize {
        (0..of).filter(|_| quota.admits(function, kind, now)).count()
    }

    #[test]
    fn a_busy_function_has_some_of_its_records_kept() {
        let now = Instant::now();
        let quota = Quota::new(now);
        assert_eq!(kept(&quota, "busy", Kind::Succeeded, 20_000, now), 6_000);
        let later = now + Duration::from_secs(2);
        assert_eq!(kept(&quota, "busy", Kind::Succeeded, 20_000, later), 2 * 550);
    }

    #[test]
    fn a_quiet_function_has_all_its_records_kept_beside_a_busy_one() {
        let now = Instant::now();
        let quota = Quota::new(now);
        kept(&quota, "busy", Kind::Succeeded, 20_000, now);
        assert_eq!(kept(&quota, "quiet", Kind::Succeeded, 1_000, now), 1_000);
        assert_eq!(kept(&quota, "quiet", Kind::Succeeded, 1, now), 0);
    }

    #[test]
    fn failures_are_not_lost_among_successes() {
        let now = Instant::now();
        let quota = Quota::new(now);
        kept(&quota, "busy", Kind::Succeeded, 20_000, now);
        assert_eq!(kept(&quota, "busy", Kind::Failed, 100, now), 100);
    }

    #[test]
    fn functions_that_rest_are_forgotten() {
        let now = Instant::now();
        let quota = Quota::new(now);
        kept(&quota, "one", Kind::Succeeded, 100, now);
        kept(&quota, "two", Kind::Succeeded, 1, now + Duration::from_secs(60));
        let shares = quota.0.lock().unwrap();
        let names: Vec<_> = shares[Kind::Succeeded as usize].own.keys().collect();
        assert_eq!(names, ["two"]);
    }
}
