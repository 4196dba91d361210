//! One sandbox and the work in it: who may come in, and when the last has left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_dispatch::{Dispatcher, State as Course};
use skep_invoke::Invoker;
use skep_model::{Function, Recycle};
use skep_wire::{NotStarted, SandboxPicture};
use tokio::sync::Notify;

/// A task of Swarm's in which instances are made.
pub(crate) struct Sandbox {
    /// Its container.
    pub(crate) id: String,
    /// Swarm's id of the task.
    pub(crate) task: String,
    /// The function's service.
    pub(crate) service: String,
    pub(crate) function: Arc<Function>,
    pub(crate) slots: u32,
    /// Whether instances can't stand side by side in it.
    alone: bool,
    /// When this agent found it.
    pub(crate) found: jiff::Timestamp,
    /// Why it can't be used; empty where it can.
    pub(crate) reasons: Vec<String>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) invoker: Invoker,
    state: Mutex<State>,
    /// Whether a connection was ever handed over here: such an invocation goes on behind its answer.
    handed_over: AtomicBool,
    /// Told whenever something of this changes.
    changed: Arc<Notify>,
    /// Told when nobody is in it while it drains.
    left: Notify,
}

#[derive(Default)]
struct State {
    running: u32,
    draining: bool,
}

/// What a sandbox is made of.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) service: String,
    pub(crate) function: Arc<Function>,
    pub(crate) slots: u32,
    pub(crate) alone: bool,
    pub(crate) reasons: Vec<String>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) invoker: Invoker,
}

impl Sandbox {
    pub(crate) fn new(made: Made, changed: Arc<Notify>) -> Self {
        made.dispatcher.set_functions(if made.reasons.is_empty() {
            vec![made.function.clone()]
        } else {
            Vec::new()
        });
        Self {
            id: made.id,
            task: made.task,
            service: made.service,
            function: made.function,
            slots: made.slots,
            alone: made.alone,
            found: jiff::Timestamp::now(),
            reasons: made.reasons,
            dispatcher: made.dispatcher,
            invoker: made.invoker,
            state: Mutex::default(),
            handed_over: AtomicBool::new(false),
            changed,
            left: Notify::new(),
        }
    }

    /// How many invocations may run in it at once.
    fn capacity(&self) -> u32 {
        self.usable_slots().saturating_mul(self.per_instance())
    }

    fn usable_slots(&self) -> u32 {
        if self.reasons.is_empty() { self.slots } else { 0 }
    }

    fn per_instance(&self) -> u32 {
        match self.function.settings.recycle {
            Recycle::Request => 1,
            Recycle::Idle | Recycle::After(_) => self.function.settings.concurrency,
        }
    }

    /// A place for one invocation.
    ///
    /// # Errors
    /// Why there is none; nothing of the invocation has run then.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Inside, NotStarted> {
        let beside = if self.handed_over.load(Ordering::Relaxed) {
            self.in_instances()
        } else {
            0
        };
        let mut state = self.lock();
        if state.draining {
            return Err(NotStarted::Draining);
        }
        if state.running.max(beside) >= self.capacity() {
            return Err(NotStarted::Full);
        }
        state.running += 1;
        drop(state);
        self.changed.notify_one();
        Ok(Inside(self.clone()))
    }

    /// An invocation's connection was handed over.
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
    }

    fn in_instances(&self) -> u32 {
        let snapshot = self.dispatcher.snapshot();
        let running = snapshot
            .instances
            .iter()
            .map(|instance| instance.invocations.len());
        count(running.sum())
    }

    /// Takes nothing more. True for the first who says so.
    pub(crate) fn begin_drain(&self) -> bool {
        let began = !std::mem::replace(&mut self.lock().draining, true);
        self.changed.notify_one();
        self.left.notify_waiters();
        began
    }

    /// Returns when the last invocation has ended, and every instance with it. It has to be draining.
    pub(crate) async fn drained(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().running == 0 {
                break;
            }
            left.await;
        }
        self.invoker.drained().await;
        self.dispatcher.drain().await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// As gateways see it.
    pub(crate) fn picture(&self) -> SandboxPicture {
        let snapshot = self.dispatcher.snapshot();
        let per_instance = self.per_instance();
        let (mut inside, mut idle) = (0, 0);
        for instance in &snapshot.instances {
            let invocations = count(instance.invocations.len());
            inside += invocations;
            idle += match instance.state {
                Course::Spare | Course::Idle | Course::Frozen | Course::Busy => {
                    per_instance.saturating_sub(invocations)
                }
                Course::Starting | Course::Ending => 0,
            };
        }
        let state = self.lock();
        SandboxPicture {
            id: self.id.clone(),
            task: self.task.clone(),
            service: self.service.clone(),
            function: self.function.name.to_string(),
            namespace: self.function.namespace.to_string(),
            revision: self.function.revision.to_string(),
            slots: self.usable_slots(),
            running: state.running.max(inside),
            idle: if self.function.settings.handler == skep_model::Handler::Http {
                idle
            } else {
                0
            },
            draining: state.draining,
            alone: self.alone,
            reasons: self.reasons.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An invocation's place; dropped, it is free again.
pub(crate) struct Inside(Arc<Sandbox>);

impl Inside {
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.0
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running -= 1;
        let last = state.running == 0;
        drop(state);
        if last {
            self.0.left.notify_waiters();
        }
        self.0.changed.notify_one();
    }
}

pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
