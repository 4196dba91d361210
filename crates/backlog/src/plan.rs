//! Who may claim how much now: pure arithmetic.

/// A function with waiting work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) function: String,
    /// How many of its invocations wait.
    pub(crate) queued: u64,
    /// How many more of them may run at once.
    pub(crate) room: u64,
}

/// Shares out `free` places in turns, one each, beginning with the candidate after `last`, so that a function with
/// much work does not keep the others waiting. Gives back how many each gets; those with none are left out.
pub(crate) fn share(mut candidates: Vec<Candidate>, mut free: u64, last: Option<&str>) -> Vec<(String, u64)> {
    candidates.sort_by(|one, other| one.function.cmp(&other.function));
    let first =
        candidates.partition_point(|candidate| last.is_some_and(|last| candidate.function.as_str() <= last));
    candidates.rotate_left(first);
    let mut shares: Vec<(String, u64)> = Vec::new();
    let mut left: Vec<(String, u64)> = candidates
        .into_iter()
        .map(|candidate| (candidate.function, candidate.queued.min(candidate.room)))
        .collect();
    left.retain(|(_, wanted)| *wanted > 0);
    while free > 0 && !left.is_empty() {
        // A whole round at a time: as much as everyone wants or as there is for everyone, and at least one.
        let least = left.iter().map(|(_, wanted)| *wanted).min().unwrap_or(0);
        let round = least.min(free / left.len() as u64).max(1);
        for (function, wanted) in &mut left {
            let given = round.min(free);
            (*wanted, free) = (*wanted - given, free - given);
            match shares.iter_mut().find(|(name, _)| name == function) {
                Some((_, share)) => *share += given,
                None if given > 0 => shares.push((function.clone(), given)),
                None => {}
            }
        }
        left.retain(|(_, wanted)| *wanted > 0);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(function: &str, queued: u64, room: u64) -> Candidate {
        Candidate {
            function: function.to_owned(),
            queued,
            room,
        }
    }

    fn shares(candidates: &[(&str, u64, u64)], free: u64, last: Option<&str>) -> Vec<(String, u64)> {
        share(
            candidates
                .iter()
                .map(|(name, queued, room)| candidate(name, *queued, *room))
                .collect(),
            free,
            last,
        )
    }

    fn is(shares: Vec<(String, u64)>, expected: &[(&str, u64)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        assert_eq!(shares, expected);
    }

    #[test]
    fn everyone_gets_what_it_wants_where_there_is_room_for_all() {
        is(
            shares(&[("b", 3, 64), ("a", 9, 2)], 100, None),
            &[("a", 2), ("b", 3)],
        );
    }

    #[test]
    fn much_work_of_one_function_leaves_the_others_their_share() {
        is(
            shares(&[("a", 100_000, 64), ("b", 2, 64), ("c", 5, 64)], 12, None),
            &[("a", 5), ("b", 2), ("c", 5)],
        );
    }

    #[test]
    fn the_last_free_place_goes_round() {
        let all = [("a", 5, 5), ("b", 5, 5), ("c", 5, 5)];
        is(shares(&all, 1, None), &[("a", 1)]);
        is(shares(&all, 1, Some("a")), &[("b", 1)]);
        is(shares(&all, 1, Some("c")), &[("a", 1)]);
    }

    #[test]
    fn without_room_or_work_nothing_is_shared_out() {
        is(shares(&[("a", 5, 0), ("b", 0, 5)], 9, None), &[]);
        is(shares(&[("a", 5, 5)], 0, None), &[]);
    }
}
