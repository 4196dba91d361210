//! Which removals belong to a prune (DESIGN 3.1: a template removed by a prune is put back, one removed by name is
//! gone). The engine says `destroy` for each container and then one `prune`, without naming what it removed; but a
//! prune walks the engine's containers from the newest to the oldest without pause. So, going back from the prune:
//! each removal that belongs to it is of a *newer* container than the one after it, and follows closely.
//! What can't be told apart counts as pruned: an unwanted template is removed again with one command, a lost one
//! is an outage. `docs/decisions/030-prunes-put-back.md` has the measurements and what this misses.

use jiff::Timestamp;

/// The longest pause between two removals of one prune, in nanoseconds.
pub(crate) const LONGEST_PAUSE: i64 = 1_000_000_000;

/// A template that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removal {
    /// When, by the engine's clock, in nanoseconds since the Unix epoch.
    pub(crate) time: i64,
    /// When the template had been created.
    pub(crate) created: Timestamp,
}

/// The positions in `removals` of those that a prune at `time` made. `others` are the times at which containers
/// that are no templates were removed, in any order: they may be part of the prune, and bridge a pause.
pub(crate) fn pruned(removals: &[Removal], others: &[i64], time: i64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..removals.len())
        .filter(|at| removals[*at].time <= time)
        .collect();
    order.sort_by_key(|at| std::cmp::Reverse((removals[*at].time, removals[*at].created)));
    let mut others: Vec<i64> = others.iter().copied().filter(|other| *other <= time).collect();
    others.sort_unstable_by(|a, b| b.cmp(a));
    let mut others = others.into_iter().peekable();

    let mut found = Vec::new();
    let mut reached = time;
    let mut newest: Option<Timestamp> = None;
    for at in order {
        let removal = removals[at];
        while let Some(other) = others.next_if(|other| *other >= removal.time) {
            if reached - other > LONGEST_PAUSE {
                return found;
            }
            reached = other;
        }
        if reached - removal.time > LONGEST_PAUSE {
            return found;
        }
        // Removed earlier although older: not by this prune's walk, so by its name.
        if newest.is_some_and(|newest| removal.created <= newest) {
            continue;
        }
        reached = removal.time;
        newest = Some(removal.created);
        found.push(at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Removed after so many milliseconds; created in the second given.
    fn removal(milliseconds: i64, created: i64) -> Removal {
        Removal {
            time: milliseconds * MS,
            created: Timestamp::from_second(created).unwrap(),
        }
    }

    #[test]
    fn everything_that_the_walk_removed_belongs_to_the_prune() {
        let removals = [removal(0, 30), removal(10, 20), removal(20, 10)];
        assert_eq!(pruned(&removals, &[], 21 * MS), [2, 1, 0]);
    }

    #[test]
    fn what_was_removed_long_before_was_removed_by_name() {
        let removals = [removal(0, 30), removal(1_500, 20), removal(1_510, 10)];
        assert_eq!(pruned(&removals, &[], 1_511 * MS), [2, 1]);
    }

    #[test]
    fn what_was_removed_out_of_the_walks_order_was_removed_by_name() {
        let removals = [removal(0, 5), removal(100, 20), removal(110, 10)];
        assert_eq!(pruned(&removals, &[], 111 * MS), [2, 1]);
    }

    #[test]
    fn removals_of_other_containers_bridge_a_pause() {
        let removals = [removal(0, 30), removal(1_800, 20)];
        assert_eq!(pruned(&removals, &[], 1_801 * MS), [1]);
        assert_eq!(pruned(&removals, &[900 * MS], 1_801 * MS), [1, 0]);
    }

    #[test]
    fn a_prune_that_removed_nothing_claims_nothing() {
        assert!(pruned(&[removal(0, 1)], &[], 5_000 * MS).is_empty());
        assert!(
            pruned(&[removal(10, 1)], &[], 5 * MS).is_empty(),
            "removed after the prune"
        );
    }

    #[test]
    fn a_long_prune_is_followed_to_its_beginning() {
        let removals: Vec<Removal> = (0..1_000).map(|n| removal(n * 20, 2_000 - n)).collect();
        assert_eq!(pruned(&removals, &[], 20_000 * MS).len(), 1_000);
    }
}
