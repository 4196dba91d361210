//! A call about a function's children on another node: written by the agent of the socket that it came through, checked
//! and completed by a gateway, and answered by the agent of that node (decision 092).

use http::HeaderName;
use serde::{Deserialize, Serialize};
use skep_model::{InvocationId, Spawn};

use crate::field::Field;

/// The [`Visit`], as [`Field::header`] spells it. What stands beside it is a request of Docker's API, written afresh.
pub const VISIT: HeaderName = HeaderName::from_static("skep-visit");

/// Who calls, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// The Swarm's id of the node that is asked.
    pub node: String,
    /// The function whose children are meant.
    pub function: String,
    /// Whose socket the call came through.
    pub visitor: Visitor,
    /// Only where a child is to be made.
    #[serde(default)]
    pub making: Option<Making>,
    /// Whether a child has this name there: 409 where one has, else 204, and nothing else is looked at.
    #[serde(default)]
    pub name: Option<String>,
}

/// The holder of a socket on another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// The instance, or the child, that speaks.
    pub id: String,
    /// Whether it is a child, which sees its own descendants only.
    pub is_child: bool,
    /// The children above it, the uppermost first.
    pub above: Vec<String>,
    /// Where `skep.spawn.total` is counted.
    pub root: String,
    /// The invocation that its children belong to.
    pub invocation: Option<InvocationId>,
    /// The generation of its children.
    pub generation: u32,
    /// What is granted to it.
    pub grant: Spawn,
}

/// A child that one node makes for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Making {
    /// The node that asked for it: its agent says so.
    pub node: String,
    /// The number under which it did.
    pub number: u64,
    /// Whether it is a function's, by its name.
    pub is_function: bool,
    /// The network that it inherits there, where the node has no sandbox of the function. Only gateways say it.
    #[serde(default)]
    pub network: Option<Network>,
}

/// A network that a node without a sandbox of the function can give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// As a create request says it.
    pub mode: String,
    /// Others to be connected.
    pub others: Vec<String>,
}

impl Field for Visit {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_visit_is_read_as_it_was_written() {
        let visit = Visit {
            node: "n".to_owned(),
            function: "f".to_owned(),
            visitor: Visitor {
                id: "i".to_owned(),
                is_child: true,
                above: vec!["a".to_owned()],
                root: "r".to_owned(),
                invocation: Some(InvocationId::generate()),
                generation: 2,
                grant: Spawn::default(),
            },
            making: Some(Making {
                node: "m".to_owned(),
                number: 7,
                is_function: false,
                network: Some(Network {
                    mode: "bridge".to_owned(),
                    others: Vec::new(),
                }),
            }),
            name: None,
        };
        assert_eq!(Visit::read(&visit.header()).unwrap(), visit);
        assert!(Visit::read(&HeaderValue::from_static("e30")).is_err());
    }
}
