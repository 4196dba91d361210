//! A picture in memory of what waits and runs, at all gateways together. It follows the stream of records; what this
//! gateway does itself is in it at once. No I/O.
//!
//! What must always hold: of two words about one invocation the later in the stream counts, in whichever order they
//! are heard.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use skep_model::{InvocationId, Status};
use skep_store::{StoreError, Waiting};
use tokio::time::Instant;

/// How often it is tried to get what runs at other gateways, which may be gone.
const PROBE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Entry {
    function: String,
    status: Status,
    sequence: u64,
    request_body: Option<String>,
}

#[derive(Debug, Default)]
struct Count {
    /// Accepts that are on their way.
    reserved: u64,
    queued: u64,
    running: u64,
    /// Those of the running ones that run here.
    here: u64,
    absent: Option<Absent>,
    /// When to try for what runs elsewhere, and for how many.
    probe: Option<(Instant, u64)>,
    /// There is more in the queue than is known of.
    unknown: u64,
}

#[derive(Debug, Clone, Copy)]
struct Absent {
    since: Option<Timestamp>,
    sequence: u64,
}

/// The picture.
#[derive(Debug, Default)]
pub(crate) struct Live {
    entries: HashMap<InvocationId, Entry>,
    counts: HashMap<String, Count>,
    /// Up to where the stream was followed.
    followed: u64,
}

impl Count {
    fn is_nothing(&self) -> bool {
        let work = self.reserved + self.queued + self.running + self.here + self.unknown;
        work == 0 && self.absent.is_none()
    }

    /// Where a function is back, only the place in the stream is still known where that was said.
    fn is_shown(&self) -> bool {
        let work = self.reserved + self.queued + self.running + self.unknown;
        work > 0 || self.absent.is_some_and(|absent| absent.since.is_some())
    }

    /// How many others than this gateway may have lost.
    fn elsewhere(&self) -> u64 {
        self.running.saturating_sub(self.here) + self.unknown
    }

    fn claimable(&self, now: Instant) -> u64 {
        let elsewhere = self.elsewhere();
        let tried = match self.probe {
            Some((at, _)) if at > now => 0,
            Some((_, many)) => many.min(elsewhere),
            None => elsewhere.min(1),
        };
        self.queued + tried
    }
}

impl Live {
    fn change(&mut self, function: &str, change: impl FnOnce(&mut Count)) {
        let count = self.counts.entry(function.to_owned()).or_default();
        change(count);
        if count.is_nothing() {
            self.counts.remove(function);
        }
    }

    /// Takes a place in a function's backlog before anything is written.
    pub(crate) fn reserve(&mut self, function: &str, limit: u64) -> Result<(), StoreError> {
        if self.queued(function) >= limit {
            return Err(StoreError::BacklogFull {
                function: function.to_owned(),
                limit,
            });
        }
        self.change(function, |count| count.reserved += 1);
        Ok(())
    }

    /// Gives the place back, or what was accepted stands in it now.
    pub(crate) fn unreserve(&mut self, function: &str) {
        self.change(function, |count| {
            count.reserved = count.reserved.saturating_sub(1)
        });
    }

    /// Takes note of a record that was written. Gives whether there is more to claim.
    pub(crate) fn note(
        &mut self,
        id: InvocationId,
        function: &str,
        status: Status,
        sequence: u64,
        request_body: Option<&str>,
    ) -> bool {
        let before = self.entries.get(&id);
        if before.is_some_and(|before| before.sequence >= sequence) {
            return false;
        }
        let was = before.map(|before| before.status);
        if was == Some(status) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.sequence = sequence;
            }
            return false;
        }
        let weigh = |count: &mut Count, status: Option<Status>, up: bool| {
            let of = match status {
                Some(Status::Queued) => &mut count.queued,
                Some(Status::Running) => &mut count.running,
                _ => return,
            };
            *of = if up { *of + 1 } else { of.saturating_sub(1) };
        };
        self.change(function, |count| {
            weigh(count, was, false);
            weigh(count, Some(status), true);
        });
        if status.is_end() && sequence <= self.followed {
            self.entries.remove(&id);
        } else {
            self.entries.insert(
                id,
                Entry {
                    function: function.to_owned(),
                    status,
                    sequence,
                    request_body: request_body.map(str::to_owned),
                },
            );
        }
        status == Status::Queued
    }

    /// Everything up to there has been noted: what ended before need not be remembered to judge what is heard late.
    pub(crate) fn followed_to(&mut self, sequence: u64) {
        self.followed = self.followed.max(sequence);
        let followed = self.followed;
        self.entries
            .retain(|_, entry| !entry.status.is_end() || entry.sequence > followed);
    }

    pub(crate) fn followed(&self) -> u64 {
        self.followed
    }

    /// So many more (or fewer) run here.
    pub(crate) fn here(&mut self, function: &str, change: i64) {
        self.change(function, |count| {
            count.here = count.here.saturating_add_signed(change)
        });
    }

    /// What came of trying for `tried` of a function's: how many of them were known to run elsewhere.
    pub(crate) fn probed(&mut self, function: &str, tried: u64, got: u64, lost: u64) {
        let now = Instant::now();
        self.change(function, |count| {
            count.unknown = count.unknown.saturating_sub(lost);
            count.probe = Some(if got < tried || lost == 0 {
                (now + PROBE_EVERY, 1)
            } else {
                // Whoever had one of them had others, too.
                (now, lost * 2)
            });
        });
    }

    /// How much is in the queue of a function in truth: where it is more than is known of, that is tried for.
    /// Gives how many too many are known of.
    pub(crate) fn truth(&mut self, function: &str, total: u64) -> u64 {
        let known = self
            .counts
            .get(function)
            .map_or(0, |count| count.queued + count.running + count.reserved);
        self.change(function, |count| count.unknown = total.saturating_sub(known));
        known.saturating_sub(total)
    }

    /// Notes since when a function is gone.
    pub(crate) fn absent(&mut self, function: &str, since: Option<Timestamp>, sequence: u64) {
        self.change(function, |count| {
            if count.absent.is_none_or(|absent| absent.sequence < sequence) {
                count.absent = Some(Absent { since, sequence });
            }
        });
    }

    /// Since when a function is gone, where it is, and where that stands.
    pub(crate) fn absent_at(&self, function: &str) -> (Option<Timestamp>, u64) {
        let absent = self.counts.get(function).and_then(|count| count.absent);
        absent.map_or((None, 0), |absent| (absent.since, absent.sequence))
    }

    /// Nothing stands there any longer.
    pub(crate) fn absent_forgotten(&mut self, function: &str) {
        self.change(function, |count| count.absent = None);
    }

    pub(crate) fn queued(&self, function: &str) -> u64 {
        self.counts
            .get(function)
            .map_or(0, |count| count.queued + count.reserved)
    }

    /// The functions that have work.
    pub(crate) fn functions(&self) -> Vec<String> {
        self.counts.keys().cloned().collect()
    }

    /// What waits or runs of a function.
    pub(crate) fn of(&self, function: &str) -> Vec<InvocationId> {
        let own = |entry: &Entry| entry.function == function && !entry.status.is_end();
        let ids = self.entries.iter().filter(|(_, entry)| own(entry));
        ids.map(|(id, _)| *id).collect()
    }

    /// Forgets one that was never in the queue.
    pub(crate) fn forget(&mut self, id: InvocationId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.change(&entry.function, |count| match entry.status {
            Status::Queued => count.queued = count.queued.saturating_sub(1),
            Status::Running => count.running = count.running.saturating_sub(1),
            _ => {}
        });
    }

    /// Whether a large request body is still needed.
    pub(crate) fn needs(&self, body: &str) -> bool {
        let mut bodies = self
            .entries
            .values()
            .filter_map(|entry| entry.request_body.as_deref());
        bodies.any(|name| name == body)
    }

    /// Every function with work, sorted by name.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let now = Instant::now();
        let mut all: Vec<Waiting> = self
            .counts
            .iter()
            .filter(|(_, count)| count.is_shown())
            .map(|(function, count)| Waiting {
                function: function.clone(),
                queued: count.queued + count.reserved,
                running: count.running,
                claimable: count.claimable(now),
                absent_since: count.absent.and_then(|absent| absent.since),
            })
            .collect();
        all.sort_by(|one, other| one.function.cmp(&other.function));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> InvocationId {
        InvocationId::generate()
    }

    fn counts(live: &Live) -> Vec<(u64, u64, u64)> {
        let all = live.waiting();
        all.iter()
            .map(|work| (work.queued, work.running, work.claimable))
            .collect()
    }

    #[test]
    fn of_two_words_the_later_counts_in_whichever_order_they_are_heard() {
        let (mut live, one) = (Live::default(), id());
        assert!(live.note(one, "hello", Status::Queued, 3, None));
        assert!(!live.note(one, "hello", Status::Queued, 3, None), "heard twice");
        live.note(one, "hello", Status::Succeeded, 9, None);
        live.note(one, "hello", Status::Running, 5, None);
        assert_eq!(counts(&live), []);
        live.followed_to(9);
        assert!(live.entries.is_empty(), "what is heard from now on is later");
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_elsewhere_is_tried_for_now_and_then_and_all_of_it_once_one_was_lost() {
        let mut live = Live::default();
        for sequence in 1..=8 {
            live.note(id(), "hello", Status::Running, sequence, None);
        }
        assert_eq!(counts(&live), [(0, 8, 1)]);
        live.probed("hello", 1, 0, 0);
        assert_eq!(counts(&live), [(0, 8, 0)]);
        tokio::time::advance(PROBE_EVERY).await;
        assert_eq!(counts(&live), [(0, 8, 1)]);
        live.here("hello", 1);
        live.probed("hello", 1, 1, 1);
        assert_eq!(counts(&live), [(0, 8, 2)]);
        live.here("hello", 7);
        assert_eq!(counts(&live), [(0, 8, 0)], "all of them run here");
    }

    #[test]
    fn what_is_in_the_queue_and_not_known_of_is_tried_for() {
        let mut live = Live::default();
        assert_eq!(live.truth("hello", 2), 0);
        assert_eq!(counts(&live), [(0, 0, 1)]);
        assert_eq!(live.truth("hello", 0), 0);
        assert_eq!(counts(&live), []);
        live.note(id(), "hello", Status::Queued, 1, None);
        assert_eq!(live.truth("hello", 0), 1, "one too many is known of");
    }

    #[test]
    fn a_place_in_the_backlog_is_counted_while_it_is_written() {
        let mut live = Live::default();
        live.reserve("hello", 1).unwrap();
        assert!(live.reserve("hello", 1).is_err());
        live.unreserve("hello");
        live.reserve("hello", 1).unwrap();
    }
}
