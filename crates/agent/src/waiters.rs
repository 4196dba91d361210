//! What gateways say of those who wait there. This node needs none of it: it is shown to every gateway, since they don't
//! speak with one another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skep_wire::Waiting;
use tokio::time::Instant;

/// A gateway that says nothing for so long has nobody, or is no more; they say it twice a second.
const STALE: Duration = Duration::from_secs(3);

/// What each gateway said last, and when. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters(Arc<Mutex<BTreeMap<String, (Instant, Waiting)>>>);

impl Waiters {
    /// A gateway has said it.
    pub(crate) fn hear(&self, waiting: Waiting) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.functions.is_empty() {
            heard.remove(&waiting.gateway);
        } else {
            heard.insert(waiting.gateway.clone(), (Instant::now(), waiting));
        }
    }

    /// What still holds.
    pub(crate) fn all(&self) -> Vec<Waiting> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|_, (at, _)| at.elapsed() < STALE);
        heard.values().map(|(_, waiting)| waiting.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(gateway: &str, count: u32) -> Waiting {
        Waiting {
            gateway: gateway.to_owned(),
            namespace: "default".to_owned(),
            functions: (0..count.min(1)).map(|_| ("hello".to_owned(), count)).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_said_again_is_forgotten_and_none_is_none_at_once() {
        let waiters = Waiters::default();
        waiters.hear(waiting("a", 3));
        waiters.hear(waiting("b", 1));
        waiters.hear(waiting("b", 2));
        assert_eq!(waiters.all(), [waiting("a", 3), waiting("b", 2)]);
        tokio::time::advance(STALE - Duration::from_millis(1)).await;
        waiters.hear(waiting("a", 3));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(waiters.all(), [waiting("a", 3)]);
        waiters.hear(waiting("a", 0));
        assert!(waiters.all().is_empty());
    }
}
