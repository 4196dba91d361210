//! Which children there are, as far as this process knows: what it made, what Docker's list and events say. Without
//! I/O: who has which name, who sees whom, what counts for whom.

mod admission;
mod ended;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use skep_grant::Refusal;
use skep_model::FunctionName;

use self::admission::Begun;
use crate::child::{Child, State};

/// How many processes may wait in a child to be started: the daemon keeps each of them.
const WAITING: usize = 64;

/// Every child, by its id.
#[derive(Debug, Default)]
pub(crate) struct Children {
    by_id: HashMap<String, Child>,
    /// Places taken by children that are just being made, by a number.
    begun: HashMap<u64, Begun>,
    next: u64,
    /// Processes that were made in a child and never started, by the child.
    waiting: HashMap<String, HashSet<String>>,
    /// Children of which a start is under way, and whether the engine said already that they run.
    starting: HashMap<String, (u32, bool)>,
    /// How many were made for each root.
    totals: HashMap<String, u64>,
    /// Names that are just being given, with whose children's they are.
    named: HashSet<(FunctionName, String)>,
}

impl Children {
    pub(crate) fn get(&self, id: &str) -> Option<&Child> {
        self.by_id.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Child> {
        self.by_id.get_mut(id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Child> {
        self.by_id.values()
    }

    /// Adds a child, or what is newly known of it.
    pub(crate) fn insert(&mut self, child: Child) {
        self.by_id.entry(child.id.clone()).or_insert(child);
    }

    /// Whether a function has children, or some that are just being made.
    pub(crate) fn has_any_of(&self, function: &FunctionName) -> bool {
        let known = self.by_id.values().map(|child| &child.marks);
        known
            .chain(self.begun.values().map(|begun| &begun.marks))
            .any(|marks| marks.function == *function)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Child> {
        self.waiting.remove(id);
        self.by_id.remove(id)
    }

    /// Whether one more process may be made in a child.
    pub(crate) fn may_exec(&self, id: &str) -> Result<(), Refusal> {
        match self.waiting.get(id) {
            Some(waiting) if waiting.len() >= WAITING => Err(spent(format!(
                "{WAITING} processes were made in this container and never started; start them first"
            ))),
            _ => Ok(()),
        }
    }

    /// A process was made in a child.
    pub(crate) fn exec_waits(&mut self, id: &str, exec: &str) {
        self.waiting
            .entry(id.to_owned())
            .or_default()
            .insert(exec.to_owned());
    }

    /// A process was started.
    pub(crate) fn exec_started(&mut self, id: &str, exec: &str) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.remove(exec);
        }
    }

    /// A start of a child begins; until it has ended the child counts, whatever is heard of an earlier end of it.
    pub(crate) fn begin_start(&mut self, id: &str) {
        self.starting.entry(id.to_owned()).or_default().0 += 1;
    }

    /// The engine says that a child runs.
    pub(crate) fn runs(&mut self, id: &str, now: Timestamp) {
        if let Some((_, said)) = self.starting.get_mut(id) {
            *said = true;
        }
        if let Some(child) = self.by_id.get_mut(id) {
            child.state = State::Running;
            (child.started, child.ended, child.disk) = (Some(now), None, None);
        }
    }

    /// A start has ended. Where it succeeded and no event has said so yet, the child runs from now on.
    pub(crate) fn end_start(&mut self, id: &str, succeeded: bool) {
        let Some((count, said)) = self.starting.get_mut(id) else {
            return;
        };
        *count -= 1;
        let (last, said) = (*count == 0, *said);
        if last {
            self.starting.remove(id);
        }
        if succeeded && !said {
            self.runs(id, Timestamp::now());
        }
    }

    /// Takes a name for a child of a function, unless another has it or is just getting it.
    pub(crate) fn take_name(&mut self, function: &FunctionName, name: &str) -> Result<(), Refusal> {
        let mut others = self.by_id.values();
        let other = others.find(|child| child.marks.function == *function && child.name == name);
        let key = (function.clone(), name.to_owned());
        let by = match other {
            Some(other) => other.id.clone(),
            None if self.named.insert(key) => return Ok(()),
            None => "that is just being made".to_owned(),
        };
        Err(Refusal {
            status: 409,
            message: format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{by}\". You have to remove \
                 (or rename) that container to be able to reuse that name."
            ),
        })
    }

    /// A name was given, or was not wanted in the end.
    pub(crate) fn name_is_given(&mut self, function: &FunctionName, name: &str) {
        self.named.remove(&(function.clone(), name.to_owned()));
    }

    fn is_live(&self, child: &Child) -> bool {
        child.is_live() || self.starting.contains_key(&child.id)
    }

    /// Counts again what an earlier process made: there is no other trace of it.
    pub(crate) fn adopt(&mut self, child: Child) {
        *self.totals.entry(child.marks.root.clone()).or_default() += 1;
        self.insert(child);
    }

    /// How many were made for a root.
    pub(crate) fn total(&self, root: &str) -> u64 {
        self.totals.get(root).copied().unwrap_or(0)
    }

    /// Counts those that an earlier process made and that are there no more.
    pub(crate) fn made_before(&mut self, root: &str, count: u64) {
        let total = self.totals.entry(root.to_owned()).or_default();
        *total = count.max(*total);
    }

    /// Whether a child with a socket of its own counts for a root: it may outlive this process.
    pub(crate) fn outlives(&self, root: &str) -> bool {
        let counts = |child: &Child| child.marks.root == root && child.marks.socket.is_some();
        self.by_id.values().any(counts)
    }

    /// Forgets what was counted for a root that nobody can spawn from any more.
    pub(crate) fn forget_root(&mut self, root: &str) {
        if !self.outlives(root) {
            self.totals.remove(root);
        }
    }

    /// A number that no child has that is just being made, here or before.
    pub(crate) fn number(&mut self) -> u64 {
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        // Larger than any of an earlier process's.
        self.next = (self.next + 1).max(if self.next == 0 { now } else { 0 });
        self.next
    }

    /// Whether a function has a child of this name, or makes one.
    pub(crate) fn has_name(&self, function: &FunctionName, name: &str) -> bool {
        let known = self.by_id.values().map(|child| (&child.marks, &child.name));
        let begun = self.begun.values().map(|begun| (&begun.marks, &begun.name));
        known
            .chain(begun)
            .any(|(marks, own)| marks.function == *function && own == name)
    }

    /// Whether a child was started, at however many removes, by `parent`.
    pub(crate) fn descends(&self, child: &Child, parent: &str) -> bool {
        if child.marks.above.iter().any(|above| above == parent) {
            return true;
        }
        let mut at = child;
        // Lineage is no deeper than the deepest grant, and never a circle; the bound is for a label that lies.
        for _ in 0..64 {
            if at.marks.parent == parent {
                return true;
            }
            match self.by_id.get(&at.marks.parent) {
                Some(next) => at = next,
                None => return false,
            }
        }
        false
    }

    /// The functions that have children.
    pub(crate) fn functions(&self) -> HashSet<FunctionName> {
        let known = self.by_id.values();
        known.map(|child| child.marks.function.clone()).collect()
    }
}

fn spent(message: String) -> Refusal {
    Refusal { status: 429, message }
}
