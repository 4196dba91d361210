//! A sandbox in use: who is in it, and since when nobody is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use skep_model::{FunctionName, InstanceId};
use tokio::sync::Notify;

use crate::plan::Sharing;
use crate::pool::Entry;
use crate::sandbox::Sandbox;
use crate::stock::Stock;

/// How long a sandbox without instances is kept: its making is what a cold start on a network waits for.
const IDLE: Duration = Duration::from_secs(60);
/// The same for one that only pins layers, and costs no process and no network.
const IDLE_PIN: Duration = Duration::from_secs(600);

/// A sandbox and the instances in it.
pub(crate) struct Held {
    pub(crate) sandbox: Sandbox,
    pub(crate) function: FunctionName,
    pub(crate) created: Timestamp,
    /// The spec that the spawner keeps for it.
    pub(crate) spec: u64,
    /// Instances that are prepared in it, where that can be.
    pub(crate) stock: Option<Stock>,
    sharing: Sharing,
    /// Told when the sandbox can't be used again.
    spent: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    instances: Vec<InstanceId>,
    used: bool,
    since: Instant,
}

impl Held {
    pub(crate) fn new(
        sandbox: Sandbox,
        function: FunctionName,
        (spec, stock): (u64, Option<Stock>),
        sharing: Sharing,
        spent: Arc<Notify>,
    ) -> Self {
        let state = State {
            instances: Vec::new(),
            used: false,
            since: Instant::now(),
        };
        Self {
            sandbox,
            function,
            created: Timestamp::now(),
            spec,
            stock,
            sharing,
            spent,
            state: Mutex::new(state),
        }
    }

    /// A place for an instance, where there is one.
    pub(crate) fn take(self: &Arc<Self>, entry: &Arc<Entry>, instance: InstanceId) -> Option<Place> {
        let mut state = self.lock();
        let free = match self.sharing {
            Sharing::Together => true,
            Sharing::InTurn => state.instances.is_empty(),
            Sharing::Once => !state.used,
        };
        if !free {
            return None;
        }
        state.used = true;
        state.instances.push(instance);
        drop(state);
        Some(Place {
            entry: entry.clone(),
            held: self.clone(),
            instance,
            made: None,
        })
    }

    /// Whether an instance that comes now would find a place.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.lock();
        self.is_alive()
            && match self.sharing {
                Sharing::Together => true,
                Sharing::InTurn => state.instances.is_empty(),
                Sharing::Once => !state.used,
            }
    }

    /// Whether its network is still there.
    pub(crate) fn is_alive(&self) -> bool {
        self.sandbox
            .network
            .as_ref()
            .is_none_or(|network| network.process.id().is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().instances.is_empty()
    }

    /// Whether it served its one instance.
    pub(crate) fn is_spent(&self) -> bool {
        let state = self.lock();
        self.sharing == Sharing::Once && state.used && state.instances.is_empty()
    }

    /// Whether nobody was in it for long.
    pub(crate) fn is_idle(&self) -> bool {
        let limit = if self.sandbox.network.is_some() {
            IDLE
        } else {
            IDLE_PIN
        };
        let state = self.lock();
        state.instances.is_empty() && state.since.elapsed() > limit
    }

    /// How many are in it.
    pub(crate) fn at_work(&self) -> usize {
        self.lock().instances.len()
    }

    pub(crate) fn instances(&self) -> Vec<InstanceId> {
        self.lock().instances.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance's place in a sandbox; dropped, it is free again.
pub(crate) struct Place {
    pub(crate) entry: Arc<Entry>,
    pub(crate) held: Arc<Held>,
    instance: InstanceId,
    /// How long the sandbox took, where it was made for this instance.
    pub(crate) made: Option<Duration>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.held.lock();
        state.instances.retain(|instance| *instance != self.instance);
        state.since = Instant::now();
        drop(state);
        if self.held.sharing == Sharing::Once {
            self.held.spent.notify_one();
        }
    }
}
