//! One attempt at one accepted invocation, from its claim to a stored end or back into its place.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use skep_model::{Ending, Function, InvocationId, Record};
use skep_store::{Accepted, Queue, StoreError};

use crate::metrics::{Metrics, Reason};
use crate::runner::{Ran, Runner};

/// How an attempt came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ended, and its end is stored.
    Ended,
    /// It could not be begun, and waits again.
    PutBack,
}

/// How long to wait before the store is tried again: doubling from the first to the last.
const STORE_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// So often work is begun whose nodes are lost: it may be what they are lost by.
const ATTEMPTS_ON_LOST_NODES: u32 = 5;

pub(crate) async fn attempt(
    store: Arc<dyn Queue>,
    runner: Arc<dyn Runner>,
    function: Arc<Function>,
    accepted: Accepted,
    metrics: Metrics,
) -> Outcome {
    let before = accepted.record.clone();
    let before_attempts = before.attempts;
    if before.attempts > 1 {
        metrics.repeated.inc();
    }
    // A fault in the runner is this invocation's end, not the backlog's.
    let ran = AssertUnwindSafe(runner.run(function, accepted))
        .catch_unwind()
        .await;
    let ran = ran.unwrap_or_else(|_| Ran {
        record: fault(before),
        response: None,
    });
    let id = ran.record.id;
    if let Some(problem) = ran.refusal() {
        metrics
            .put_back
            .get_or_create(&Reason {
                reason: problem.as_str(),
            })
            .inc();
        until_stored(id, || store.release(id)).await;
        return Outcome::PutBack;
    }
    if ran.node_was_lost() && before_attempts < ATTEMPTS_ON_LOST_NODES {
        tracing::warn!(invocation = %id, "the node that ran accepted work was lost: it is run again");
        until_stored(id, || store.repeat(id)).await;
        return Outcome::PutBack;
    }
    until_stored(id, || store.finish(ran.record.clone(), ran.response.clone())).await;
    Outcome::Ended
}

/// Tries until the store took it: what has happened must not be forgotten because the disk is full for a while.
async fn until_stored<F: Future<Output = Result<(), StoreError>>>(id: InvocationId, store: impl Fn() -> F) {
    let (mut pause, longest) = STORE_RETRY;
    loop {
        match store().await {
            Ok(()) => return,
            Err(error @ (StoreError::Unknown(_) | StoreError::Closed)) => {
                tracing::error!(invocation = %id, %error, "what became of an invocation can't be stored");
                return;
            }
            Err(error) => {
                let error = error.with_sources();
                tracing::error!(invocation = %id, error, "what became of an invocation can't be stored yet");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn fault(mut record: Record) -> Record {
    record.ending = Some(Ending::fault("running it met a fault in Skep; its log has more"));
    record
}
