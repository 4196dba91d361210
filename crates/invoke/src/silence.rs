//! The time that an invocation may take: until something, and from then on without a sign of life.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Runs out when nothing moved for a while.
///
/// Being touched costs a look at the clock and no more: the timer is only set again when it fires too early.
pub(crate) struct Silence {
    limit: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Instant::now(),
            timer: Box::pin(tokio::time::sleep(limit)),
        }
    }

    /// Something moved.
    pub(crate) fn touch(&mut self) {
        self.last = Instant::now();
    }

    /// Ready once nothing was touched, and nothing moved elsewhere since `also`, for as long as is allowed.
    pub(crate) fn poll(&mut self, also: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let last = also.map_or(self.last, |also| also.max(self.last));
            if last + self.limit <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(last + self.limit);
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
    async fn what_moves_elsewhere_counts_as_well() {
        let begun = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(30));
        let moved = begun + Duration::from_secs(25);
        poll_fn(|cx| silence.poll(Some(moved), cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 55);
    }
}
