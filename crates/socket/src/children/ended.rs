//! Which ended children go.

use std::collections::HashMap;

use skep_model::FunctionName;

use super::Children;
use crate::child::Child;

/// How many ended children of one function are kept for who still asks about them.
const KEPT: usize = 500;

impl Children {
    /// The ended children that go, the oldest first, where a function's children have more than `bound` bytes on the
    /// disk.
    pub(crate) fn beyond(&self, function: &FunctionName, bound: u64) -> Vec<String> {
        let own = self
            .by_id
            .values()
            .filter(|child| child.marks.function == *function);
        let mut held: u64 = own.clone().filter_map(|child| child.disk).sum();
        let mut ended: Vec<&Child> = own.filter(|child| !self.is_live(child)).collect();
        ended.sort_by_key(|child| child.ended);
        let mut beyond = Vec::new();
        for child in ended {
            if held <= bound {
                break;
            }
            held -= child.disk.unwrap_or(0);
            beyond.push(child.id.clone());
        }
        beyond
    }

    /// The ended children beyond the number that is kept, the oldest first.
    pub(crate) fn surplus(&self) -> Vec<String> {
        let mut ended: HashMap<&str, Vec<&Child>> = HashMap::new();
        for child in self.by_id.values().filter(|child| !self.is_live(child)) {
            ended
                .entry(child.marks.function.as_str())
                .or_default()
                .push(child);
        }
        let mut surplus = Vec::new();
        for children in ended.values_mut().filter(|children| children.len() > KEPT) {
            children.sort_by_key(|child| child.ended);
            let beyond = children.len() - KEPT;
            surplus.extend(children[..beyond].iter().map(|child| child.id.clone()));
        }
        surplus
    }
}
