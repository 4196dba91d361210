//! Budgets that are held over more than this Skep's own children: whoever knows of the others is asked as well.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use skep_grant::Refusal;
use skep_model::{FunctionName, Spawn};

use crate::engine::Sockets;
use crate::holder::Holder;
use crate::labels::Marks;
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

impl Usage {
    pub(crate) fn with(self, marks: &Marks) -> Self {
        Self {
            children: self.children + 1,
            memory: self.memory.saturating_add(marks.memory),
            nano_cpus: self.nano_cpus.saturating_add(marks.nano_cpus),
        }
    }
}

/// What a function's children have here, as it is claimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// All of it.
    pub usage: Usage,
    /// What of it was asked for and not answered, by its number.
    pub asking: Vec<(u64, Usage)>,
}

/// What is asked for, beyond that there be room for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Nothing more: it is made here.
    Here,
    /// It is made here for another node, which asked under this number.
    For(String, u64),
    /// Where it is to be made.
    Where(Place),
}

/// A child for which a node is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its number among what is asked here.
    pub number: u64,
    /// What it would have.
    pub wants: Usage,
    /// The function that it is made from, where it is one's.
    pub of: Option<String>,
    /// Whether its network is its function's.
    pub inherits: bool,
    /// Whether it can be made here at all.
    pub can: bool,
    /// Whether it can be made nowhere else.
    pub stays: bool,
    /// What all children here have together.
    pub here: Usage,
}

/// That a function may have what it would have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The node that is to make the child, where it is not this one.
    pub node: Option<String>,
    /// The other nodes that hold children of the function, as far as it was asked where.
    pub others: Vec<String>,
}

/// Who knows what a function's children have elsewhere.
pub trait Budget: Send + Sync + fmt::Debug + 'static {
    /// Whether a function may have what it would have here; `held` tells how much that is.
    fn claim<'a>(
        &'a self,
        function: &'a FunctionName,
        grant: &'a Spawn,
        held: &'a (dyn Fn() -> Held + Send + Sync),
        question: Question,
    ) -> BoxFuture<'a, Result<Agreed, String>>;
}

impl Sockets {
    /// Has somebody else agree to each child too. Once, before there are any.
    pub fn hold_with(&self, budget: Arc<dyn Budget>) {
        drop(self.shared.budget.set(budget));
    }

    /// What all children here have together.
    pub fn usage_of_all(&self) -> Usage {
        self.shared.children().usage_of_all()
    }

    /// What each function's children have here.
    pub fn usage(&self) -> HashMap<FunctionName, Held> {
        let children = self.shared.children();
        let functions = children.functions().into_iter();
        functions
            .map(|function| {
                let held = children.held(&function);
                (function, held)
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
    pub(crate) async fn agreed(&self, holder: &Holder, question: Question) -> Result<Agreed, Refusal> {
        let Some(budget) = self.budget.get() else {
            return Ok(Agreed::default());
        };
        let held = || self.children().held(&holder.function);
        let claimed = budget.claim(&holder.function, &holder.spawn, &held, question);
        claimed.await.map_err(|message| Refusal { status: 429, message })
    }
}
