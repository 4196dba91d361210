//! Children that are gone, for who looks at the lineage a little later. Bounded, and lost with the process.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::child::Child;

/// How many are remembered.
const REMEMBERED: usize = 1000;

/// The last children that were removed.
#[derive(Debug, Default)]
pub(crate) struct History {
    gone: Mutex<VecDeque<Child>>,
}

impl History {
    pub(crate) fn add(&self, child: Child) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if gone.len() == REMEMBERED {
            gone.pop_front();
        }
        gone.push_back(child);
    }

    pub(crate) fn all(&self) -> Vec<Child> {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.iter().cloned().collect()
    }
}
