//! The time that an invocation may take: until something, and from then on without a sign of life.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Runs out when nothing moved for a while.
///
/// Being touched costs a look at the clock and no more: the timer is only set again when it fires too early. For the
/// same reason it may have been another's before ([`Silence::wait_with`]).
pub(crate) struct Silence {
    limit: Duration,
    last: Instant,
    timer: Option<Timer>,
}

/// A timer, set or not.
pub(crate) type Timer = Pin<Box<Sleep>>;

impl Silence {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Instant::now(),
            timer: None,
        }
    }

    /// Goes on with the timer of a silence with the same limit that is over: setting one takes a lock that every
    /// other request wants as well.
    pub(crate) fn wait_with(&mut self, timer: Timer) {
        self.timer = Some(timer);
    }

    /// The timer, for the next one.
    pub(crate) fn into_timer(self) -> Option<Timer> {
        self.timer
    }

    /// Something moved.
    pub(crate) fn touch(&mut self) {
        self.last = Instant::now();
    }

    /// Ready once nothing was touched, and nothing moved elsewhere since `also`, for as long as is allowed.
    pub(crate) fn poll(&mut self, also: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.last + self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let last = also.map_or(self.last, |also| also.max(self.last));
            if last + self.limit <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(last + self.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_after_the_last_sign_of_life() {
        let begun = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(20)).await;
        silence.touch();
        poll_fn(|cx| silence.poll(None, cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn another_silences_timer_changes_nothing() {
        let limit = Duration::from_secs(30);
        let mut first = Silence::new(limit);
        assert!(poll_fn(|cx| Poll::Ready(first.poll(None, cx))).await.is_pending());
        for pause in [10, 40] {
            tokio::time::advance(Duration::from_secs(pause)).await;
            let begun = Instant::now();
            let mut next = Silence::new(limit);
            next.wait_with(first.into_timer().unwrap());
            poll_fn(|cx| next.poll(None, cx)).await;
            assert_eq!(begun.elapsed().as_secs(), 30);
            first = next;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_elsewhere_counts_as_well() {
        let begun = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(30));
        let moved = begun + Duration::from_secs(25);
        poll_fn(|cx| silence.poll(Some(moved), cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 55);
    }
}
