//! YAML as a tree whose every node knows where it stands.

mod build;
mod merge;

pub(crate) use build::parse;
pub(crate) use merge::overlay;

use crate::problem::Position;
use std::sync::Arc;

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
    /// Nodes below this one, aliases counted each time: what stops a file
    /// of nested aliases from growing into gigabytes.
    pub(crate) weight: u64,
}

/// A YAML value; scalars keep their text, since Compose decides by key what
/// `010`, `yes` or `1e3` mean.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// Any other scalar, as written.
    Scalar(String),
    /// A list; shared where an alias repeats it.
    Sequence(Arc<Vec<Node>>),
    /// A mapping in the file's order, merge keys applied.
    Mapping(Arc<Vec<Entry>>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) position: Position,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The entry of a mapping, if this is one and has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.node),
            _ => None,
        }
    }

    pub(crate) fn sequence(position: Position, items: Vec<Node>) -> Self {
        let weight = 1 + items.iter().map(|node| node.weight).sum::<u64>();
        Self {
            position,
            value: Value::Sequence(Arc::new(items)),
            weight,
        }
    }

    pub(crate) fn mapping(position: Position, entries: Vec<Entry>) -> Self {
        let weight = 1 + entries.iter().map(|entry| entry.node.weight).sum::<u64>();
        Self {
            position,
            value: Value::Mapping(Arc::new(entries)),
            weight,
        }
    }
}
