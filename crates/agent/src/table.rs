//! The sandboxes of this node, as everything here sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::sandbox::Sandbox;

/// By their containers. A clone is the same table.
#[derive(Clone, Default)]
pub(crate) struct Table {
    sandboxes: Arc<RwLock<BTreeMap<String, Arc<Sandbox>>>>,
    /// Told whenever one comes or goes, or something in one changes.
    pub(crate) changed: Arc<Notify>,
}

impl Table {
    pub(crate) fn get(&self, container: &str) -> Option<Arc<Sandbox>> {
        let sandboxes = self.sandboxes.read().unwrap_or_else(PoisonError::into_inner);
        sandboxes.get(container).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        let sandboxes = self.sandboxes.read().unwrap_or_else(PoisonError::into_inner);
        sandboxes.values().cloned().collect()
    }

    pub(crate) fn insert(&self, sandbox: Arc<Sandbox>) {
        let mut sandboxes = self.sandboxes.write().unwrap_or_else(PoisonError::into_inner);
        sandboxes.insert(sandbox.id.clone(), sandbox);
        drop(sandboxes);
        self.changed.notify_one();
    }

    pub(crate) fn remove(&self, container: &str) -> Option<Arc<Sandbox>> {
        let mut sandboxes = self.sandboxes.write().unwrap_or_else(PoisonError::into_inner);
        let removed = sandboxes.remove(container);
        drop(sandboxes);
        self.changed.notify_one();
        removed
    }
}
