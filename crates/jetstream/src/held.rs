//! What this gateway has claimed and not ended yet. As long as it says so now and then, nobody else gets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;
use skep_model::InvocationId;
use tokio::time::{MissedTickBehavior, interval};

use crate::message::Kept;

/// One of them.
pub(crate) struct Held {
    /// What gives it back to the queue, or takes it out.
    pub(crate) acker: Acker,
    /// What was written of it when it was claimed.
    pub(crate) kept: Kept,
    /// Where that stands in the stream.
    pub(crate) sequence: u64,
}

/// All of them.
#[derive(Default)]
pub(crate) struct AllHeld(Mutex<HashMap<InvocationId, Arc<Held>>>);

impl AllHeld {
    fn lock(&self) -> MutexGuard<'_, HashMap<InvocationId, Arc<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, held: Held) {
        self.lock().insert(held.kept.record.id, Arc::new(held));
    }

    pub(crate) fn get(&self, id: InvocationId) -> Option<Arc<Held>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn take(&self, id: InvocationId) -> Option<Arc<Held>> {
        self.lock().remove(&id)
    }

    fn all(&self) -> Vec<Arc<Held>> {
        self.lock().values().cloned().collect()
    }

    /// Says of each, three times in the time after which another would get it, that it is in work.
    pub(crate) async fn keep(&self, ack_wait: Duration) {
        let mut ticks = interval(ack_wait / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for held in self.all() {
                if let Err(error) = held.acker.ack_with(AckKind::Progress).await {
                    let id = held.kept.record.id;
                    tracing::warn!(invocation = %id, %error, "the queue can't be told that an invocation is in work");
                }
            }
        }
    }

    /// Gives everything back at once: it is not this gateway that ends it.
    pub(crate) async fn give_back(&self) {
        let all: Vec<_> = self.lock().drain().map(|(_, held)| held).collect();
        for held in all {
            // Without it the queue finds out by itself, later.
            let _ = held.acker.ack_with(AckKind::Nak(None)).await;
        }
    }
}
