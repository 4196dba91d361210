//! Lays one Compose file over another, as several `-f` ask for.

use super::{Entry, Node, Value};
use std::sync::Arc;

/// Keys whose list is one value, so that a later file replaces it whole.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];
/// Keys that may be written as a list of `NAME=value` or as a mapping.
const PAIRS: [&str; 6] = [
    "environment",
    "labels",
    "args",
    "sysctls",
    "annotations",
    "driver_opts",
];
/// Keys whose short form is a list of names.
const NAMES: [&str; 3] = ["networks", "depends_on", "models"];

/// `over` laid over `base`: mappings are merged, lists appended without
/// repeats, everything else replaced.
pub(crate) fn overlay(base: &Node, over: &Node, key: &str) -> Node {
    if over.is_null() {
        return base.clone();
    }
    if REPLACED.contains(&key) {
        return over.clone();
    }
    let (left, right) = (spread(base, key), spread(over, key));
    match (&left.value, &right.value) {
        (Value::Mapping(lower), Value::Mapping(upper)) => {
            let mut entries: Vec<Entry> = lower.to_vec();
            for entry in upper.iter() {
                match entries.iter_mut().find(|known| known.key == entry.key) {
                    Some(known) => known.node = overlay(&known.node, &entry.node, &entry.key),
                    None => entries.push(entry.clone()),
                }
            }
            Node::mapping(right.position.clone(), entries)
        }
        (Value::Sequence(lower), Value::Sequence(upper)) => {
            let mut items: Vec<Node> = lower
                .iter()
                .filter(|item| !upper.iter().any(|new| replaces(new, item, key)))
                .cloned()
                .collect();
            items.extend(upper.iter().cloned());
            Node::sequence(right.position.clone(), items)
        }
        _ => over.clone(),
    }
}

/// Whether a later list item stands for the same thing as an earlier one.
fn replaces(new: &Node, old: &Node, key: &str) -> bool {
    match key {
        "volumes" | "devices" | "secrets" | "configs" => {
            let target = |node: &Node| target_of(node, key);
            target(new).is_some() && target(new) == target(old)
        }
        _ => match (&new.value, &old.value) {
            (Value::Scalar(new), Value::Scalar(old)) => new == old,
            _ => false,
        },
    }
}

/// Where a mount goes: its target, or the last path of the short form.
fn target_of(node: &Node, key: &str) -> Option<String> {
    match &node.value {
        Value::Scalar(text) if matches!(key, "secrets" | "configs") => Some(text.clone()),
        Value::Scalar(text) => {
            let parts: Vec<&str> = text.split(':').collect();
            Some(parts.get(1).unwrap_or(&parts[0]).to_string())
        }
        _ => ["target", "source"]
            .iter()
            .find_map(|name| match node.get(name).map(|node| &node.value) {
                Some(Value::Scalar(text)) => Some(text.clone()),
                _ => None,
            }),
    }
}

/// The mapping form of a list form, where the key has both.
fn spread(node: &Node, key: &str) -> Node {
    let Value::Sequence(items) = &node.value else {
        return node.clone();
    };
    let pairs = PAIRS.contains(&key);
    if !pairs && !NAMES.contains(&key) {
        return node.clone();
    }
    let mut entries = Vec::with_capacity(items.len());
    for item in items.iter() {
        let Value::Scalar(text) = &item.value else {
            return node.clone();
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) if pairs => (name, Value::Scalar(value.to_owned())),
            _ => (text.as_str(), Value::Null),
        };
        entries.push(Entry {
            key: name.to_owned(),
            position: item.position.clone(),
            node: Node {
                position: item.position.clone(),
                value,
                weight: 1,
            },
        });
    }
    Node {
        position: node.position.clone(),
        weight: node.weight,
        value: Value::Mapping(Arc::new(entries)),
    }
}
