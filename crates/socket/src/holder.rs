//! Whose socket it is: the grant, and the place in the lineage. The path of a socket says who speaks, so that
//! nothing in a request has to.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use skep_model::{FunctionName, InstanceId, InvocationId, Spawn};

use crate::child::Child;
use crate::shared::Shared;

/// The networks that a child gets where it names none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// `HostConfig.NetworkMode`.
    pub(crate) mode: String,
    /// The other networks, connected one by one.
    pub(crate) others: Vec<String>,
}

/// Who listens at the other end.
#[derive(Debug)]
pub(crate) enum Parent {
    /// An instance. The invocation, where its environment names the one that it serves.
    Instance {
        id: InstanceId,
        invocation: Option<InvocationId>,
        /// Whether it serves several, so that it is the parent itself.
        several: bool,
    },
    /// A child with a socket of its own; its id is known when it was made.
    Child {
        id: OnceLock<String>,
        root: String,
        invocation: Option<InvocationId>,
    },
    /// Whoever speaks on another node, whose agent vouches for it.
    Visitor {
        id: String,
        is_child: bool,
        root: String,
        invocation: Option<InvocationId>,
    },
}

/// One socket's holder.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) function: FunctionName,
    /// What is granted here. `depth` counts from here.
    pub(crate) spawn: Spawn,
    pub(crate) parent: Parent,
    pub(crate) network: Inherited,
    /// The generation of the children that come through here.
    pub(crate) generation: u32,
    /// The children above this one, the uppermost first; not itself.
    pub(crate) above: Vec<String>,
    /// What was counted for, to be forgotten with the socket.
    pub(crate) roots: Mutex<HashSet<String>>,
}

impl Holder {
    /// The id that children carry as their parent's.
    pub(crate) fn id(&self) -> String {
        match &self.parent {
            Parent::Instance { id, .. } => id.to_string(),
            Parent::Child { id, .. } => id.get().cloned().unwrap_or_default(),
            Parent::Visitor { id, .. } => id.clone(),
        }
    }

    /// Whether it is a child, and no instance.
    pub(crate) fn is_child(&self) -> bool {
        matches!(
            &self.parent,
            Parent::Child { .. } | Parent::Visitor { is_child: true, .. }
        )
    }

    /// Whether it speaks on another node.
    pub(crate) fn is_visitor(&self) -> bool {
        matches!(&self.parent, Parent::Visitor { .. })
    }

    /// The children above one that is made here.
    pub(crate) fn above_children(&self) -> Vec<String> {
        let mut above = self.above.clone();
        if self.is_child() {
            above.push(self.id());
        }
        above
    }

    /// The invocation that a child made now belongs to.
    pub(crate) fn invocation(&self, shared: &Shared) -> Option<InvocationId> {
        match &self.parent {
            Parent::Instance { several: true, .. } => None,
            Parent::Instance { id, invocation, .. } => {
                invocation.or_else(|| match shared.invocations(*id)[..] {
                    [only] => Some(only),
                    _ => None,
                })
            }
            Parent::Child { invocation, .. } | Parent::Visitor { invocation, .. } => *invocation,
        }
    }

    /// Where `skep.spawn.total` is counted.
    pub(crate) fn root(&self, invocation: Option<InvocationId>) -> String {
        match (&self.parent, invocation) {
            (Parent::Child { root, .. } | Parent::Visitor { root, .. }, _) => root.clone(),
            (Parent::Instance { .. }, Some(invocation)) => invocation.to_string(),
            (Parent::Instance { id, .. }, None) => id.to_string(),
        }
    }

    /// The roots for which children were counted here, and the one that a child's socket is below.
    pub(crate) fn counted_roots(&self) -> HashSet<String> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Parent::Child { root, .. } = &self.parent {
            roots.insert(root.clone());
        }
        roots
    }

    /// Whether this holder may see and touch a child: an instance all of its function's, a child its own.
    pub(crate) fn sees(&self, shared: &Shared, child: &Child) -> bool {
        if child.marks.function != self.function {
            return false;
        }
        if !self.is_child() {
            return true;
        }
        let id = self.id();
        !id.is_empty() && shared.children().descends(child, &id)
    }
}
