//! What functions' children have on all nodes together, as far as this gateway is the one that is told: agents choose it
//! by the function's name (decision 092).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skep_wire::{Agreed, Claim, Usage};

/// A node that says nothing for so long has nothing: agents say what they have every two seconds.
const STALE: Duration = Duration::from_secs(8);
/// So long after its start a gateway may not have heard of all nodes.
const UNKNOWING: Duration = Duration::from_secs(5);
/// So long a child that is placed on another node is remembered without a word from the node that asked for it.
const PLACED: Duration = Duration::from_secs(20);

/// What each node has said of each function last.
#[derive(Debug)]
pub(crate) struct Claims {
    began: Instant,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By function and node.
    held: HashMap<String, HashMap<String, Held>>,
    /// What was placed on another node than asked for it, by that node and its number there.
    placed: HashMap<(String, u64), Placed>,
}

#[derive(Debug)]
struct Held {
    sequence: u64,
    usage: Usage,
    /// What of it is asked for just now.
    asking: Vec<(u64, Usage)>,
    at: Instant,
}

#[derive(Debug)]
struct Placed {
    function: String,
    node: String,
    wants: Usage,
    /// The claim with which it was asked for.
    sequence: u64,
    /// Whether that node has claimed it.
    taken: bool,
    at: Instant,
}

impl Known {
    fn forget(&mut self, now: Instant) {
        self.held.retain(|_, nodes| {
            nodes.retain(|_, held| now.saturating_duration_since(held.at) < STALE);
            !nodes.is_empty()
        });
        self.placed
            .retain(|_, placed| now.saturating_duration_since(placed.at) < PLACED);
    }

    /// What a node no longer asks for was made, or came to nothing.
    fn settle(&mut self, claim: &Claim, now: Instant) {
        self.placed.retain(|(node, number), placed| {
            if *node != claim.node || placed.function != claim.function {
                return true;
            }
            let asks = claim.asking.iter().any(|(asked, _)| asked == number);
            if asks {
                placed.at = now;
            }
            asks || claim.sequence < placed.sequence
        });
    }

    /// What counts of what a node says that it has: what it asked for and another is to make counts there.
    fn counted(&self, node: &str, usage: Usage, asking: &[(u64, Usage)]) -> Usage {
        let gone = asking
            .iter()
            .filter(|(number, _)| self.placed.contains_key(&(node.to_owned(), *number)));
        gone.fold(usage, |left, (_, gone)| less(left, *gone))
    }

    /// What was placed and is not claimed yet: of a function, or on a node.
    fn on_their_way(&self, of: impl Fn(&Placed) -> bool) -> Usage {
        let placed = self.placed.values();
        let placed = placed.filter(|placed| !placed.taken && of(placed));
        placed.fold(Usage::default(), |sum, placed| sum.plus(placed.wants))
    }
}

impl Claims {
    /// Of a gateway that starts now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            known: Mutex::default(),
        }
    }

    /// When questions may be answered.
    pub(crate) fn ready_at(&self) -> Instant {
        self.began + UNKNOWING
    }

    /// Takes note of what a node has. `choose` is asked for the node that is to make a child, where that may be another;
    /// it is told what is on its way to each.
    ///
    /// # Errors
    /// What was asked for is more than may be; a sentence for the function.
    pub(crate) fn claim(
        &self,
        claim: Claim,
        now: Instant,
        choose: impl FnOnce(&dyn Fn(&str) -> Usage) -> Option<(String, Usage)>,
    ) -> Result<Agreed, String> {
        let mut known = self.known();
        known.forget(now);
        known.settle(&claim, now);
        let nodes = known.held.get(&claim.function);
        let of_node = nodes.and_then(|nodes| nodes.get(&claim.node));
        let is_late = of_node.is_some_and(|known| known.sequence > claim.sequence);
        if let Some(instead) = &claim.instead
            && let Some(placed) = known.placed.get_mut(instead)
        {
            placed.taken = true;
        }
        // What came later has this in it.
        if !is_late {
            if let Some(limits) = claim.limits {
                let own = known.counted(&claim.node, claim.usage, &claim.asking);
                let nodes = known.held.get(&claim.function).into_iter().flatten();
                let others = nodes.filter(|(node, _)| **node != claim.node);
                let sum = others.fold(own, |sum, (node, held)| {
                    sum.plus(known.counted(node, held.usage, &held.asking))
                });
                let coming = known.on_their_way(|placed| placed.function == claim.function);
                fits(&claim.function, sum.plus(coming), limits)?;
            }
            let held = Held {
                sequence: claim.sequence,
                usage: claim.usage,
                asking: claim.asking,
                at: now,
            };
            let nodes = known.held.entry(claim.function.clone()).or_default();
            nodes.insert(claim.node.clone(), held);
        }
        let Some(place) = claim.place else {
            return Ok(Agreed::default());
        };
        let chosen = choose(&|node| known.on_their_way(|placed| placed.node == node));
        let nodes = known.held.get(&claim.function).into_iter().flatten();
        let others = nodes
            .map(|(node, _)| node.clone())
            .filter(|node| *node != claim.node);
        let agreed = Agreed {
            others: others.collect(),
            node: chosen.as_ref().map(|(node, _)| node.clone()),
        };
        if let Some((node, wants)) = chosen {
            let placed = Placed {
                function: claim.function,
                node,
                wants,
                sequence: claim.sequence,
                taken: false,
                at: now,
            };
            known.placed.insert((claim.node, place.number), placed);
        }
        Ok(agreed)
    }

    /// The nodes that hold children of a function; `None` where not all may have been heard of yet.
    pub(crate) fn holders(&self, function: &str, now: Instant) -> Option<Vec<String>> {
        let known = self.known();
        let nodes = known.held.get(function).into_iter().flatten();
        let fresh = nodes.filter(|(_, held)| now.saturating_duration_since(held.at) < STALE);
        let fresh = fresh.map(|(node, _)| node.clone()).collect();
        (now >= self.ready_at()).then_some(fresh)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn less(one: Usage, other: Usage) -> Usage {
    Usage {
        children: one.children.saturating_sub(other.children),
        memory: one.memory.saturating_sub(other.memory),
        nano_cpus: one.nano_cpus.saturating_sub(other.nano_cpus),
    }
}

fn fits(function: &str, sum: Usage, limits: Usage) -> Result<(), String> {
    if sum.children > limits.children {
        let (there, max) = (sum.children.saturating_sub(1), limits.children);
        return Err(format!(
            "{function} has {there} children on all nodes together, and skep.spawn.max grants {max} at once"
        ));
    }
    if sum.memory > limits.memory {
        return Err(format!(
            "with this child the children of {function} on all nodes could use {} bytes of memory, and \
             skep.spawn.memory grants {}",
            sum.memory, limits.memory
        ));
    }
    if sum.nano_cpus > limits.nano_cpus {
        return Err(format!(
            "with this child the children of {function} on all nodes could use {} CPUs, and skep.spawn.cpus grants {}",
            sum.nano_cpus as f64 / 1e9,
            limits.nano_cpus as f64 / 1e9
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
