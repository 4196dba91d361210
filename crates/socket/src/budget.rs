//! Budgets that are held over more than this Skep's own children: whoever knows of the others is asked as well.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use skep_grant::Refusal;
use skep_model::{FunctionName, Spawn};

use crate::engine::Sockets;
use crate::holder::Holder;
use crate::share::{Share, Shares};
use crate::shared::Shared;

/// What a function's live children have here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub children: u64,
    /// What counts of memory, in bytes.
    pub memory: u64,
    /// What counts of CPUs, in billionths.
    pub nano_cpus: u64,
}

/// Who knows what a function's children have elsewhere.
pub trait Budget: Send + Sync + fmt::Debug + 'static {
    /// Whether a function may have what it would have here; `usage` tells how much that is.
    fn claim<'a>(
        &'a self,
        function: &'a FunctionName,
        grant: &'a Spawn,
        usage: &'a (dyn Fn() -> Usage + Send + Sync),
    ) -> BoxFuture<'a, Result<(), String>>;
}

impl Sockets {
    /// Has somebody else agree to each child too. Once, before there are any.
    pub fn hold_with(&self, budget: Arc<dyn Budget>) {
        drop(self.shared.budget.set(budget));
    }

    /// What each function's children have here.
    pub fn usage(&self) -> HashMap<FunctionName, Usage> {
        let children = self.shared.children();
        let functions = children.functions().into_iter();
        functions
            .map(|function| {
                let usage = children.usage(&function);
                (function, usage)
            })
            .collect()
    }
}

impl Shared {
    /// What one child without limits of its own gets. A common cgroup would hold what is here alone.
    pub(crate) fn share_of(&self, holder: &Holder) -> Share {
        let shares = match self.budget.get() {
            Some(_) => &Shares::Evenly,
            None => &self.shares,
        };
        shares.of(&self.namespace, &holder.function, &holder.spawn)
    }

    /// Whether a place that was taken here may be had.
    pub(crate) async fn agreed(&self, holder: &Holder) -> Result<(), Refusal> {
        let Some(budget) = self.budget.get() else {
            return Ok(());
        };
        let usage = || self.children().usage(&holder.function);
        let claimed = budget.claim(&holder.function, &holder.spawn, &usage).await;
        claimed.map_err(|message| Refusal { status: 429, message })
    }
}
