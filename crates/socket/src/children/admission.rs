//! What is admitted: places in a function's budget, taken before a child is made and given back where none was.

use skep_grant::Refusal;
use skep_model::{FunctionName, Spawn};

use super::{Children, spent};
use crate::budget::{Held, Usage};
use crate::child::Child;
use crate::labels::Marks;

/// A child that is just being made.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) marks: Marks,
    pub(super) name: String,
    /// Nobody has said yet whether it is made here.
    asking: bool,
}

impl Children {
    /// Takes a place for one more child, or says which budget has none.
    pub(crate) fn admit(&mut self, spawn: &Spawn, marks: Marks, name: &str) -> Result<u64, Refusal> {
        let total = self.total(&marks.root);
        if total >= spawn.total {
            return Err(spent(format!(
                "{total} children were started for this invocation, and skep.spawn.total grants {}",
                spawn.total
            )));
        }
        self.fits(spawn, &marks, None)?;
        *self.totals.entry(marks.root.clone()).or_default() += 1;
        let number = self.number();
        let name = name.to_owned();
        let begun = Begun {
            marks,
            name,
            asking: true,
        };
        self.begun.insert(number, begun);
        Ok(number)
    }

    /// It was said that a child is made here.
    pub(crate) fn stays(&mut self, place: u64) {
        if let Some(begun) = self.begun.get_mut(&place) {
            begun.asking = false;
        }
    }

    /// A child was made elsewhere: it counts for its root here, and for nothing else.
    pub(crate) fn went(&mut self, place: u64) {
        self.begun.remove(&place);
    }

    /// What counts of a function's children, and what of that was asked for and not answered.
    pub(crate) fn held(&self, function: &FunctionName) -> Held {
        let asking = self.begun.iter();
        let asking = asking.filter(|(_, begun)| begun.asking && begun.marks.function == *function);
        Held {
            usage: self.usage(function),
            asking: asking
                .map(|(number, begun)| (*number, Usage::default().with(&begun.marks)))
                .collect(),
        }
    }

    /// What counts of all children together.
    pub(crate) fn usage_of_all(&self) -> Usage {
        self.counted(None)
            .fold(Usage::default(), |sum, marks| sum.with(marks))
    }

    /// What counts of a function's children, those included that are just being made.
    pub(crate) fn usage(&self, function: &FunctionName) -> Usage {
        self.counted(None)
            .filter(|marks| marks.function == *function)
            .fold(Usage::default(), |sum, marks| sum.with(marks))
    }

    /// Every child that counts, but one: those that live, and those that are just being made.
    fn counted<'a>(&'a self, but: Option<&'a str>) -> impl Iterator<Item = &'a Marks> {
        let known = self.by_id.values();
        let live = known.filter(move |child| self.is_live(child) && Some(child.id.as_str()) != but);
        let begun = self.begun.values().map(|begun| &begun.marks);
        live.map(|child| &child.marks).chain(begun)
    }

    /// Whether a child that ended may run again.
    pub(crate) fn may_restart(&self, spawn: &Spawn, id: &str) -> Result<(), Refusal> {
        match self.by_id.get(id) {
            Some(child) if !self.is_live(child) => self.fits(spawn, &child.marks, Some(id)),
            _ => Ok(()),
        }
    }

    fn fits(&self, spawn: &Spawn, marks: &Marks, but: Option<&str>) -> Result<(), Refusal> {
        let (mut count, mut memory, mut cpus) = (0u64, marks.memory, marks.nano_cpus);
        let others = self.counted(but);
        for other in others.filter(|other| other.function == marks.function) {
            count += 1;
            memory = memory.saturating_add(other.memory);
            cpus = cpus.saturating_add(other.nano_cpus);
        }
        let function = &marks.function;
        if count >= u64::from(spawn.max) {
            let max = spawn.max;
            return Err(spent(format!(
                "{function} has {count} children, and skep.spawn.max grants {max} at once"
            )));
        }
        if memory > spawn.memory {
            let granted = spawn.memory;
            return Err(spent(format!(
                "with this child the children of {function} could use {memory} bytes of memory, \
                 and skep.spawn.memory grants {granted}"
            )));
        }
        if cpus > spawn.nano_cpus {
            return Err(spent(format!(
                "with this child the children of {function} could use {} CPUs, and skep.spawn.cpus grants {}",
                cpus as f64 / 1e9,
                spawn.nano_cpus as f64 / 1e9
            )));
        }
        Ok(())
    }

    /// Gives a place back; `made` is what came of it.
    pub(crate) fn settle(&mut self, place: u64, made: Option<Child>) {
        let marks = self.begun.remove(&place).map(|begun| begun.marks);
        match made {
            Some(child) => {
                // A list that came in between knew it already, and counted it a second time.
                if self.by_id.contains_key(&child.id)
                    && let Some(total) = self.totals.get_mut(&child.marks.root)
                {
                    *total = total.saturating_sub(1);
                }
                self.by_id.insert(child.id.clone(), child);
            }
            None => {
                if let Some(total) = marks.and_then(|marks| self.totals.get_mut(&marks.root)) {
                    *total = total.saturating_sub(1);
                }
            }
        }
    }
}
