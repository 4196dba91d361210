//! Templates that were removed, for as long as a prune may still turn out to have done it.
//!
//! A removed template stays in force for [`GRACE`]: a prune of a few templates is over by then, and no request
//! fails. After it the function is undeployed, and comes back if a prune does turn out to be the cause.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::prune::{LONGEST_PAUSE, Removal, pruned};
use crate::reading::Held;

/// How long a removed template stays in force; `docker rm` must be seen within 200 ms.
pub(crate) const GRACE: Duration = Duration::from_millis(100);
/// More removals than any one prune is expected to consist of; the oldest are forgotten first.
const MOST: usize = 20_000;

/// How far a removed template is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// In force until then.
    Grace(Instant),
    /// No longer in force.
    Over,
    /// Being put back, and in force.
    PuttingBack,
    /// Put back as the container with this id, and in force until that was read.
    PutBack(Arc<str>),
}

#[derive(Debug)]
struct Gone {
    held: Held,
    time: i64,
    stage: Stage,
}

/// The templates that were removed lately.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    gone: HashMap<Arc<str>, Gone>,
    others: VecDeque<i64>,
    latest: i64,
}

impl Removed {
    /// A template was removed at `time` by the engine's clock (nanoseconds since the Unix epoch).
    pub(crate) fn template(&mut self, id: Arc<str>, held: Held, time: i64) {
        self.advance(time);
        let stage = Stage::Grace(Instant::now() + GRACE);
        self.gone.insert(id, Gone { held, time, stage });
    }

    /// Some container was removed: perhaps a template that was missed already, perhaps none.
    pub(crate) fn other(&mut self, id: &str, time: i64) {
        self.advance(time);
        match self.gone.get_mut(id) {
            Some(gone) => gone.time = time,
            None => self.others.push_back(time),
        }
        if self.others.len() > MOST {
            self.others.pop_front();
        }
    }

    /// After a pause no earlier removal can belong to a prune that is still to come.
    fn advance(&mut self, time: i64) {
        if time - self.latest > LONGEST_PAUSE {
            self.others.clear();
            self.gone.retain(|_, gone| gone.stage != Stage::Over);
        }
        self.latest = self.latest.max(time);
    }

    /// A prune ended at `time`: what it removed is in force again, and is to be put back, oldest first.
    pub(crate) fn prune(&mut self, time: i64) -> Vec<(Arc<str>, Held)> {
        let open: Vec<Arc<str>> = self
            .gone
            .iter()
            .filter(|(_, gone)| matches!(gone.stage, Stage::Grace(_) | Stage::Over))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        let removals: Vec<Removal> = open
            .iter()
            .filter_map(|id| self.gone.get(id))
            .map(|gone| Removal {
                time: gone.time,
                created: gone.held.made,
            })
            .collect();
        let others: Vec<i64> = self.others.drain(..).collect();
        let mut found: Vec<(Arc<str>, Held)> = Vec::new();
        for at in pruned(&removals, &others, time) {
            if let Some(gone) = self.gone.get_mut(&open[at]) {
                gone.stage = Stage::PuttingBack;
                found.push((Arc::clone(&open[at]), gone.held.clone()));
            }
        }
        found.sort_by_key(|(_, held)| held.template.created);
        // What this prune did not remove, no later one can have removed.
        self.gone.retain(|_, gone| gone.stage != Stage::Over);
        found
    }

    /// The template stands again, as another container. Returns when it had been created first.
    pub(crate) fn put_back(&mut self, id: &str, new: Arc<str>) -> Option<Timestamp> {
        let gone = self.gone.get_mut(id)?;
        gone.stage = Stage::PutBack(new);
        Some(gone.held.template.created)
    }

    /// The template can't be put back.
    pub(crate) fn give_up(&mut self, id: &str) {
        self.gone.remove(id);
    }

    /// The container was read: what it replaces is done with. True where it replaces something.
    pub(crate) fn was_read(&mut self, id: &str) -> bool {
        let before = self.gone.len();
        self.gone
            .retain(|_, gone| !matches!(&gone.stage, Stage::PutBack(new) if **new == *id));
        self.gone.len() < before
    }

    /// The removed templates that are still in force.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = &Held> {
        self.gone
            .values()
            .filter(|gone| gone.stage != Stage::Over)
            .map(|gone| &gone.held)
    }

    /// The names of containers that are being put back; what stands under such a name doesn't count yet.
    pub(crate) fn names_being_put_back(&self) -> HashSet<&str> {
        self.gone
            .values()
            .filter(|gone| matches!(gone.stage, Stage::PuttingBack | Stage::PutBack(_)))
            .map(|gone| gone.held.template.name.as_str())
            .collect()
    }

    /// When the next grace ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.gone
            .values()
            .filter_map(|gone| {
                if let Stage::Grace(until) = gone.stage {
                    Some(until)
                } else {
                    None
                }
            })
            .min()
    }

    /// Ends every grace that is over; true where one was.
    pub(crate) fn end_graces(&mut self, now: Instant) -> bool {
        let mut ended = false;
        for gone in self.gone.values_mut() {
            if matches!(gone.stage, Stage::Grace(until) if until <= now) {
                gone.stage = Stage::Over;
                ended = true;
            }
        }
        ended
    }

    /// Every removed template, in force or not.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Held> {
        self.gone.values().map(|gone| &gone.held)
    }
}
