//! What functions' children have on all nodes together, as far as this gateway is the one that is told: agents choose it
//! by the function's name (decision 092).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use skep_wire::{Claim, Usage};

/// A node that says nothing for so long has nothing: agents say what they have every two seconds.
const STALE: Duration = Duration::from_secs(8);
/// So long after its start a gateway may not have heard of all nodes.
const UNKNOWING: Duration = Duration::from_secs(5);

/// What each node has said of each function last.
#[derive(Debug)]
pub struct Claims {
    began: Instant,
    held: Mutex<HashMap<String, HashMap<String, Held>>>,
}

#[derive(Debug)]
struct Held {
    sequence: u64,
    usage: Usage,
    at: Instant,
}

impl Claims {
    /// Of a gateway that starts now.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            held: Mutex::default(),
        }
    }

    /// When questions may be answered.
    pub fn ready_at(&self) -> Instant {
        self.began + UNKNOWING
    }

    /// Takes note of what a node has.
    ///
    /// # Errors
    /// What was asked for is more than may be; a sentence for the function.
    pub fn claim(&self, claim: Claim, now: Instant) -> Result<(), String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, nodes| {
            nodes.retain(|_, held| now.saturating_duration_since(held.at) < STALE);
            !nodes.is_empty()
        });
        let nodes = held.entry(claim.function.clone()).or_default();
        // What came later has this in it.
        if nodes
            .get(&claim.node)
            .is_some_and(|known| known.sequence > claim.sequence)
        {
            return Ok(());
        }
        if let Some(limits) = claim.limits {
            let others = nodes.iter().filter(|(node, _)| **node != claim.node);
            let sum = others.fold(claim.usage, |sum, (_, held)| add(sum, held.usage));
            fits(&claim.function, sum, limits)?;
        }
        let usage = claim.usage;
        let held = Held {
            sequence: claim.sequence,
            usage,
            at: now,
        };
        nodes.insert(claim.node, held);
        Ok(())
    }
}

fn add(one: Usage, other: Usage) -> Usage {
    Usage {
        children: one.children.saturating_add(other.children),
        memory: one.memory.saturating_add(other.memory),
        nano_cpus: one.nano_cpus.saturating_add(other.nano_cpus),
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
mod tests {
    use super::*;

    fn claim(node: &str, sequence: u64, children: u64, max: Option<u64>) -> Claim {
        let usage = |children| Usage {
            children,
            memory: children << 20,
            nano_cpus: children,
        };
        Claim {
            node: node.to_owned(),
            sequence,
            function: "f".to_owned(),
            usage: usage(children),
            limits: max.map(usage),
        }
    }

    #[test]
    fn all_nodes_together_have_no_more_than_is_granted() {
        let now = Instant::now();
        let claims = Claims::new(now);
        assert_eq!(claims.claim(claim("a", 1, 2, Some(4)), now), Ok(()));
        assert_eq!(claims.claim(claim("b", 1, 2, Some(4)), now), Ok(()));
        let refused = claims.claim(claim("b", 2, 3, Some(4)), now).unwrap_err();
        assert!(refused.contains("has 4 children on all nodes"), "{refused}");
        // Asked twice it counts once, and what one gives back another may have.
        assert_eq!(claims.claim(claim("a", 1, 2, Some(4)), now), Ok(()));
        assert_eq!(claims.claim(claim("a", 2, 1, None), now), Ok(()));
        assert_eq!(claims.claim(claim("b", 3, 3, Some(4)), now), Ok(()));
    }

    #[test]
    fn what_arrives_late_changes_nothing() {
        let now = Instant::now();
        let claims = Claims::new(now);
        assert_eq!(claims.claim(claim("a", 7, 3, Some(4)), now), Ok(()));
        assert_eq!(claims.claim(claim("a", 6, 1, None), now), Ok(()));
        assert!(claims.claim(claim("b", 1, 2, Some(4)), now).is_err());
    }

    #[test]
    fn a_node_of_which_nothing_is_heard_has_nothing() {
        let now = Instant::now();
        let claims = Claims::new(now);
        assert_eq!(claims.claim(claim("a", 1, 4, Some(4)), now), Ok(()));
        assert!(claims.claim(claim("b", 1, 1, Some(4)), now).is_err());
        assert_eq!(claims.claim(claim("b", 2, 1, Some(4)), now + STALE), Ok(()));
    }
}
