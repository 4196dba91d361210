//! How much accepted work there is for each function: kept in memory exactly, and rebuilt from the queue at start.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::error::StoreError;
use crate::invocation::Waiting;

#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<HashMap<String, Count>>);

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    /// Waiting, those whose accept is on its way to the disk included.
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) absent_since: Option<Timestamp>,
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one function's count; what is all zero is forgotten.
    pub(crate) fn change(&self, function: &str, change: impl FnOnce(&mut Count)) {
        let mut counts = self.lock();
        let count = counts.entry(function.to_owned()).or_default();
        change(count);
        if count.queued == 0 && count.running == 0 && count.absent_since.is_none() {
            counts.remove(function);
        }
    }

    /// Takes a place in a function's backlog before its row is written.
    pub(crate) fn reserve(&self, function: &str, limit: u64) -> Result<(), StoreError> {
        let mut counts = self.lock();
        if counts.get(function).map_or(0, |count| count.queued) >= limit {
            return Err(StoreError::BacklogFull {
                function: function.to_owned(),
                limit,
            });
        }
        counts.entry(function.to_owned()).or_default().queued += 1;
        Ok(())
    }

    pub(crate) fn get(&self, function: &str) -> Count {
        self.lock().get(function).copied().unwrap_or_default()
    }

    /// Every function with work, sorted by name.
    pub(crate) fn all(&self) -> Vec<Waiting> {
        let mut all: Vec<Waiting> = self
            .lock()
            .iter()
            .map(|(function, count)| Waiting {
                function: function.clone(),
                queued: count.queued,
                running: count.running,
                claimable: count.queued,
                absent_since: count.absent_since,
            })
            .collect();
        all.sort_by(|one, other| one.function.cmp(&other.function));
        all
    }
}
