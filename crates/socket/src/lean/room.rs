//! What is bounded for a function as a whole, because it is Skep's own: the work that it is put to, and the memory in
//! which files lie that are put into children.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use skep_grant::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::child::{LeanChild, Status};
use super::run::broke_off;
use super::{Lean, lock};
use crate::shared::Shared;

/// How many archives, comparisons and lists of processes are made for one function at the same time: each takes a
/// thread for as long as its client takes.
const WORKS: usize = 32;
/// How many of them may have a dictionary of an `xz` archive, which may take 64 MiB of Skep's own memory.
const DICTIONARIES: usize = 4;
/// How much of an archive is unpacked before it is looked again how much room is left.
pub(super) const STEP: u64 = 1 << 20;

/// The places for such work, by function.
#[derive(Debug, Default)]
pub(super) struct Works(Mutex<HashMap<String, Places>>);

#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    dictionaries: Arc<Semaphore>,
}

impl Works {
    /// Waits for a place.
    pub(super) async fn place(&self, function: &str) -> Result<OwnedSemaphorePermit, Refusal> {
        let places = self.of(function, |places| places.all.clone());
        places.acquire_owned().await.map_err(|_| broke_off())
    }

    /// The places for dictionaries among those that have such a place.
    pub(super) fn dictionaries(&self, function: &str) -> Arc<Semaphore> {
        self.of(function, |places| places.dictionaries.clone())
    }

    fn of<T>(&self, function: &str, get: impl FnOnce(&Places) -> T) -> T {
        let mut all = lock(&self.0);
        all.retain(|name, places| name == function || places.all.available_permits() < WORKS);
        let places = all.entry(function.to_owned()).or_insert_with(|| Places {
            all: Arc::new(Semaphore::new(WORKS)),
            dictionaries: Arc::new(Semaphore::new(DICTIONARIES)),
        });
        get(places)
    }
}

/// The room that is left for files put into a child. They are written by Skep, so that no cgroup of the child's counts
/// them: all children of a function together have no more of them than they may have memory.
#[derive(Debug)]
pub(super) struct Room {
    child: Arc<LeanChild>,
    others: Vec<Arc<LeanChild>>,
    granted: u64,
    short: AtomicBool,
}

impl Room {
    /// Measures what there is.
    pub(super) async fn of(shared: &Shared, lean: &Lean, child: &Arc<LeanChild>) -> Self {
        let function = &child.request.function;
        let granted = shared
            .function(function)
            .and_then(|function| function.settings.spawn.as_ref().map(|spawn| spawn.memory));
        let mut others = lean.all();
        others.retain(|other| other.request.function == *function && other.id != child.id);
        // Those that ended were measured then.
        for other in others
            .iter()
            .filter(|other| other.doing().status != Status::Exited)
        {
            other.measure().await;
        }
        Self {
            child: child.clone(),
            others,
            granted: granted.unwrap_or(0),
            short: AtomicBool::new(false),
        }
    }

    /// Whether there is room beside so many bytes of the child's own.
    pub(super) fn holds(&self, own: u64) -> io::Result<()> {
        self.child.used.store(own, Ordering::Relaxed);
        let others = self.others.iter().map(|other| other.used.load(Ordering::Relaxed));
        let all = others.fold(own, u64::saturating_add);
        if all <= self.granted {
            return Ok(());
        }
        self.short.store(true, Ordering::Relaxed);
        Err(io::ErrorKind::QuotaExceeded.into())
    }

    /// Whether there was not enough of it.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// What is said to who wants more.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal {
            status: 429,
            message: format!(
                "with this archive the files of the children of {} would take more than the {} bytes of memory that \
                 skep.spawn.memory grants; remove children that ended",
                self.child.request.function, self.granted
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dictionaries_of_one_function_are_few_and_nobody_elses() {
        let works = Works::default();
        let _place = works.place("one").await.unwrap();
        let take = |function| works.dictionaries(function).try_acquire_owned();
        let held: Vec<_> = (0..DICTIONARIES).map(|_| take("one").unwrap()).collect();
        let _other = works.place("other").await.unwrap();
        assert!(take("one").is_err());
        assert!(take("other").is_ok());
        drop(held);
        assert!(take("one").is_ok());
    }
}
