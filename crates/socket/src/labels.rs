//! What the labels of a child say: all that must be known of it again after a crash.
//!
//! Every one of them is set on every child, so that none can come from its image.

use std::collections::BTreeMap;

use jiff::Timestamp;
use skep_model::{FunctionName, InvocationId, Namespace, Spawn, label};

/// Where counting for `skep.spawn.total` begins: an invocation, or an instance that serves several.
pub(crate) const ROOT: &str = "skep.root";
/// 1 for the child of an instance, 2 for that one's child.
pub(crate) const GENERATION: &str = "skep.generation";
/// What it was asked for as: an image's name or a function's.
pub(crate) const ASKED: &str = "skep.started-as";
/// `true` where it was made from a function's template.
pub(crate) const OF_TEMPLATE: &str = "skep.of-template";
/// The Unix time at which it ends at the latest.
pub(crate) const DEADLINE: &str = "skep.deadline";
/// Bytes of memory counted for it.
pub(crate) const MEMORY: &str = "skep.memory";
/// Billionths of a CPU counted for it.
pub(crate) const CPUS: &str = "skep.nano-cpus";
/// The folder of its own socket; empty where it has none.
pub(crate) const SOCKET: &str = "skep.socket";
/// What is granted to its own socket, as JSON.
pub(crate) const GRANT: &str = "skep.grant";
/// The children above it, the uppermost first, with commas: some may be on other nodes.
pub(crate) const ABOVE: &str = "skep.above";
/// Whether Docker starts it again by itself.
pub(crate) const RESTARTS: &str = "skep.restarts";

/// A child's place in the lineage, and what is counted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) function: FunctionName,
    pub(crate) parent: String,
    pub(crate) root: String,
    pub(crate) invocation: Option<InvocationId>,
    pub(crate) generation: u32,
    /// The children above it.
    pub(crate) above: Vec<String>,
    pub(crate) asked: String,
    /// Whether it was made from a function's template, whatever became of that function since.
    pub(crate) of_template: bool,
    pub(crate) deadline: Timestamp,
    pub(crate) memory: u64,
    pub(crate) nano_cpus: u64,
    pub(crate) socket: Option<String>,
    /// What that grants: settled when the child was made, so that nothing later gives it more.
    pub(crate) grant: Option<Spawn>,
    /// Whether Docker starts it again by itself: it counts as live as long as it exists.
    pub(crate) restarts: bool,
}

impl Marks {
    /// As labels.
    pub(crate) fn written(&self, owner: &str, namespace: &Namespace) -> BTreeMap<String, String> {
        let invocation = self.invocation.map(|id| id.to_string()).unwrap_or_default();
        [
            (label::OWNER, owner.to_owned()),
            (label::NAMESPACE, namespace.to_string()),
            (label::CHILD_OF, self.function.to_string()),
            (label::PARENT, self.parent.clone()),
            (label::INVOCATION, invocation),
            (ROOT, self.root.clone()),
            (GENERATION, self.generation.to_string()),
            (ABOVE, self.above.join(",")),
            (ASKED, self.asked.clone()),
            (OF_TEMPLATE, self.of_template.to_string()),
            (DEADLINE, self.deadline.as_second().to_string()),
            (MEMORY, self.memory.to_string()),
            (CPUS, self.nano_cpus.to_string()),
            (SOCKET, self.socket.clone().unwrap_or_default()),
            (GRANT, self.grant.as_ref().map(granted).unwrap_or_default()),
            (RESTARTS, self.restarts.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Reads them; `None` for what is no child of this namespace.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>, namespace: &Namespace) -> Option<Self> {
        if get(label::NAMESPACE)? != namespace.as_str() || get(label::OWNER)?.is_empty() {
            return None;
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Some(Self {
            function: get(label::CHILD_OF)?.parse().ok()?,
            parent: get(label::PARENT)?,
            root: get(ROOT)?,
            invocation: get(label::INVOCATION)?.parse().ok(),
            generation: get(GENERATION)?.parse().ok()?,
            // Not on those that an older Skep made.
            above: get(ABOVE)
                .and_then(some)
                .map(|above| above.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            asked: get(ASKED)?,
            of_template: get(OF_TEMPLATE)?.parse().ok()?,
            deadline: Timestamp::from_second(get(DEADLINE)?.parse().ok()?).ok()?,
            memory: get(MEMORY)?.parse().ok()?,
            nano_cpus: get(CPUS)?.parse().ok()?,
            socket: some(get(SOCKET)?),
            grant: some(get(GRANT)?)
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .ok()?,
            restarts: get(RESTARTS)?.parse().ok()?,
        })
    }
}

fn granted(spawn: &Spawn) -> String {
    // Plain data: nothing in it can't be written.
    serde_json::to_string(spawn).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skep_model::PortRange;

    use super::*;

    #[test]
    fn everything_is_known_again_from_the_labels() {
        let marks = Marks {
            function: "f".parse().unwrap(),
            parent: "instance".to_owned(),
            root: "root".to_owned(),
            invocation: None,
            generation: 2,
            above: vec!["one".to_owned(), "two".to_owned()],
            asked: "debian".to_owned(),
            of_template: true,
            deadline: Timestamp::from_second(1_800_000_000).unwrap(),
            memory: 7,
            nano_cpus: 8,
            socket: Some("socket".to_owned()),
            grant: Some(Spawn {
                may_start: vec!["debian".to_owned(), "f".to_owned()],
                life: Duration::from_millis(1500),
                networks: vec!["backend".to_owned()],
                volumes: vec!["data".to_owned()],
                ports: vec![PortRange { first: 80, last: 90 }],
                ..Spawn::default()
            }),
            restarts: true,
        };
        let namespace: Namespace = "n".parse().unwrap();
        for marks in [
            marks.clone(),
            Marks {
                socket: None,
                grant: None,
                restarts: false,
                ..marks
            },
        ] {
            let labels = marks.written("owner", &namespace);
            assert_eq!(
                Marks::read(|key| labels.get(key).cloned(), &namespace),
                Some(marks)
            );
        }
    }
}
