//! Where a child is made: on the node that asks while that has room, else on another that has. Pure.

use std::collections::{BTreeMap, HashMap};

use skep_wire::Usage;

/// A node as Swarm has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// What is asked of it in placement constraints: `node.hostname`, `node.labels.NAME` and so on.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Whether tasks may be begun there.
    pub(crate) active: bool,
    /// The bytes of memory that no task reserves.
    pub(crate) memory: u64,
    /// The billionths of CPUs that no task reserves.
    pub(crate) nano_cpus: u64,
}

/// A node on which a child could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The Swarm's id of it.
    pub(crate) node: String,
    /// What all children there have.
    pub(crate) children: Usage,
    /// Whether there is a sandbox of the function that the child is one of.
    pub(crate) has_sandbox: bool,
}

impl Room {
    fn left(&self, taken: Usage) -> (u64, u64) {
        (
            self.memory.saturating_sub(taken.memory),
            self.nano_cpus.saturating_sub(taken.nano_cpus),
        )
    }

    fn has(&self, taken: Usage, wants: Usage) -> bool {
        let (memory, nano_cpus) = self.left(taken);
        memory >= wants.memory && nano_cpus >= wants.nano_cpus
    }
}

/// Whether a node that has this already can take no more; what is not known has room.
pub(crate) fn is_full(rooms: &HashMap<String, Room>, node: &str, all: Usage) -> bool {
    rooms
        .get(node)
        .is_some_and(|room| !room.has(Usage::default(), all))
}

/// The node among these that has most room for what is wanted, one with a sandbox first.
pub(crate) fn choose(
    rooms: &HashMap<String, Room>,
    candidates: &[Candidate],
    constraints: &[String],
    wants: Usage,
) -> Option<String> {
    let fitting = candidates.iter().filter_map(|candidate| {
        let room = rooms.get(&candidate.node)?;
        let allowed = constraints.iter().all(|constraint| admits(room, constraint));
        let fits = room.active && allowed && room.has(candidate.children, wants);
        let (memory, nano_cpus) = room.left(candidate.children);
        fits.then_some(((candidate.has_sandbox, nano_cpus, memory), candidate))
    });
    let best = fitting.max_by(|(one, a), (other, b)| one.cmp(other).then_with(|| b.node.cmp(&a.node)));
    best.map(|(_, candidate)| candidate.node.clone())
}

/// Whether a node satisfies one of a service's placement constraints, `KEY==VALUE` or `KEY!=VALUE`. What can't be read
/// no node satisfies.
fn admits(room: &Room, constraint: &str) -> bool {
    let (key, value, equal) = match (constraint.split_once("=="), constraint.split_once("!=")) {
        (Some((key, value)), None) => (key, value, true),
        (None, Some((key, value))) => (key, value, false),
        _ => return false,
    };
    let (key, value) = (key.trim(), value.trim());
    let has = room.attributes.get(key).map(String::as_str).unwrap_or_default();
    has.eq_ignore_ascii_case(value) == equal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(memory: u64, nano_cpus: u64) -> Usage {
        Usage {
            children: 1,
            memory,
            nano_cpus,
        }
    }

    fn room(name: &str, memory: u64) -> (String, Room) {
        let attributes = BTreeMap::from([
            ("node.hostname".to_owned(), name.to_owned()),
            ("node.labels.disk".to_owned(), "ssd".to_owned()),
        ]);
        let room = Room {
            attributes,
            active: true,
            memory,
            nano_cpus: 1000,
        };
        (name.to_owned(), room)
    }

    fn candidate(node: &str, memory: u64, has_sandbox: bool) -> Candidate {
        Candidate {
            node: node.to_owned(),
            children: usage(memory, 0),
            has_sandbox,
        }
    }

    #[test]
    fn a_node_with_a_sandbox_comes_first_then_the_one_with_most_room() {
        let rooms = HashMap::from([room("a", 100), room("b", 90), room("c", 100)]);
        let some = [
            candidate("a", 20, false),
            candidate("b", 0, false),
            candidate("c", 60, true),
        ];
        let wants = usage(30, 1);
        assert_eq!(choose(&rooms, &some, &[], wants).as_deref(), Some("c"));
        assert_eq!(choose(&rooms, &some[..2], &[], wants).as_deref(), Some("b"));
        assert_eq!(choose(&rooms, &some, &[], usage(50, 1)).as_deref(), Some("b"));
        assert_eq!(choose(&rooms, &some, &[], usage(95, 1)), None);
        assert_eq!(choose(&rooms, &some, &[], usage(1, 2000)), None);
    }

    #[test]
    fn constraints_are_swarms() {
        let rooms = HashMap::from([room("a", 100), room("b", 100)]);
        let some = [candidate("a", 0, false), candidate("b", 0, false)];
        for (constraint, node) in [
            ("node.hostname==b", Some("b")),
            ("node.hostname != a", Some("b")),
            ("node.labels.disk == SSD", Some("a")),
            ("node.labels.disk==hdd", None),
            ("node.labels.zone!=x", Some("a")),
            ("nonsense", None),
        ] {
            let chosen = choose(&rooms, &some, &[constraint.to_owned()], usage(1, 1));
            assert_eq!(chosen.as_deref(), node, "{constraint}");
        }
    }

    #[test]
    fn a_drained_node_takes_nothing_and_an_unknown_one_is_never_full() {
        let (name, drained) = room("a", 100);
        let rooms = HashMap::from([(
            name,
            Room {
                active: false,
                ..drained
            },
        )]);
        assert_eq!(choose(&rooms, &[candidate("a", 0, true)], &[], usage(1, 1)), None);
        assert!(!is_full(&rooms, "a", usage(100, 1)));
        assert!(is_full(&rooms, "a", usage(101, 1)));
        assert!(!is_full(&rooms, "b", usage(101, 1)));
    }
}
