//! The sandboxes of children of one shape: on a network one for each that runs, used again by the next; without one a
//! single container that pins the image's layers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use skep_model::{Function, InstanceId};
use skep_sys::NetworkNamespace;
use tokio::sync::Semaphore;

use super::ahead;
use super::networks::Networks;
use crate::engine::Shared;
use crate::plan::{Network, Plan};
use crate::sandbox::{self, Others, Sandbox, SandboxError, SandboxNetwork};
use crate::view::SandboxView;

/// How long a sandbox that nobody is in waits for the next child.
const IDLE: Duration = Duration::from_secs(60);
/// The same for the last of a shape: the next child would wait for another as long as for a container of Docker's.
const IDLE_LAST: Duration = Duration::from_secs(900);

/// All grounds that there are.
pub(crate) struct Grounds {
    all: Mutex<Vec<Weak<Ground>>>,
    pub(super) networks: Networks,
    /// Room for children that wait to be started.
    pub(super) ahead: Arc<Semaphore>,
}

impl Default for Grounds {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            networks: Networks::default(),
            ahead: Arc::new(Semaphore::new(ahead::MOST)),
        }
    }
}

impl Grounds {
    pub(crate) fn add(&self, ground: &Arc<Ground>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|ground| ground.strong_count() > 0);
        all.push(Arc::downgrade(ground));
    }

    /// Whether a sandbox is being made, or somebody is in one.
    pub(crate) fn are_used(&self) -> bool {
        let grounds = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grounds = grounds.iter().filter_map(Weak::upgrade);
        grounds.any(|ground| ground.out.load(Ordering::Acquire) > 0)
    }

    /// Removes the sandboxes that nobody has used for a while, or all that nobody is in.
    pub(crate) fn discard(&self, shared: &Arc<Shared>, all: bool) {
        let grounds: Vec<Arc<Ground>> = {
            let grounds = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            grounds.iter().filter_map(Weak::upgrade).collect()
        };
        for ground in grounds {
            for sandbox in ground.take_idle(all) {
                ground.discard(shared, sandbox);
            }
        }
    }

    /// Every sandbox that stands.
    pub(crate) fn views(&self) -> Vec<SandboxView> {
        let grounds: Vec<Arc<Ground>> = {
            let grounds = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            grounds.iter().filter_map(Weak::upgrade).collect()
        };
        grounds.iter().flat_map(|ground| ground.views()).collect()
    }
}

/// How many namespaces of children without a network are kept for the next ones.
const KEPT: usize = 8;

/// Where children of one shape run.
pub(crate) struct Ground {
    function: Arc<Function>,
    free: Mutex<Vec<(Sandbox, Instant)>>,
    /// The namespaces of children without a network that have ended, and since when.
    own: Mutex<Vec<(NetworkNamespace, Instant)>>,
    /// How many are being made, or somebody is in.
    out: AtomicUsize,
    /// All that stand, by their containers, and since when.
    standing: Mutex<HashMap<String, Timestamp>>,
}

impl Ground {
    pub(crate) fn new(function: Arc<Function>) -> Self {
        Self {
            function,
            free: Mutex::default(),
            own: Mutex::default(),
            out: AtomicUsize::new(0),
            standing: Mutex::default(),
        }
    }

    /// A sandbox on the network, for the caller alone; made where none is free.
    pub(crate) async fn take(
        &self,
        shared: &Arc<Shared>,
        plan: &Plan,
    ) -> Result<Option<Sandbox>, SandboxError> {
        if plan.network != Network::Sandbox {
            return Ok(None);
        }
        if let Some(free) = self.take_free(shared) {
            return Ok(Some(free));
        }
        self.make(shared, plan, None).await.map(Some)
    }

    /// One that stands already.
    pub(super) fn take_free(&self, shared: &Arc<Shared>) -> Option<Sandbox> {
        while let Some(free) = self.pop() {
            if stands(&free) {
                return Some(free);
            }
            self.gone();
            self.discard(shared, free);
        }
        None
    }

    fn pop(&self) -> Option<Sandbox> {
        let (sandbox, _) = self.lock().pop()?;
        self.out.fetch_add(1, Ordering::AcqRel);
        Some(sandbox)
    }

    /// Makes one for the caller, on `others` where those are given: nobody else may have that one afterwards.
    pub(crate) async fn make(
        &self,
        shared: &Arc<Shared>,
        plan: &Plan,
        others: Option<Others<'_>>,
    ) -> Result<Sandbox, SandboxError> {
        let layers = shared.flattened(&self.function).await?;
        let id = InstanceId::generate();
        shared.keep(id);
        self.out.fetch_add(1, Ordering::AcqRel);
        let made = sandbox::make(&shared.maker(), &self.function, (plan, others), layers, id).await;
        match &made {
            Ok(sandbox) => drop(
                self.standing()
                    .insert(sandbox.container.clone(), Timestamp::now()),
            ),
            Err(_) => {
                self.gone();
                shared.release(id);
            }
        }
        made
    }

    /// Removes a sandbox that nobody is in any more.
    pub(crate) fn discard(&self, shared: &Arc<Shared>, sandbox: Sandbox) {
        self.standing().remove(&sandbox.container);
        let again = shared.clone();
        shared.tasks.spawn(async move {
            sandbox::remove(again.docker(), &sandbox.container).await;
            again.release(sandbox.id);
        });
    }

    fn views(&self) -> Vec<SandboxView> {
        let view = |(container, created): (&String, &Timestamp)| SandboxView {
            container: container.clone(),
            function: self.function.name.clone(),
            instances: Vec::new(),
            created: *created,
        };
        self.standing().iter().map(view).collect()
    }

    fn standing(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give_back(&self, sandbox: Sandbox) {
        self.lock().push((sandbox, Instant::now()));
        self.gone();
    }

    /// Takes back one that the next child may have, and removes one that is no longer what this shape asks for.
    pub(crate) fn leave(&self, shared: &Arc<Shared>, sandbox: Sandbox, again: bool) {
        if again {
            return self.give_back(sandbox);
        }
        self.gone();
        self.discard(shared, sandbox);
    }

    /// The namespace that a child without a network has left.
    pub(super) fn take_own(&self) -> Option<NetworkNamespace> {
        self.own().pop().map(|(namespace, _)| namespace)
    }

    /// Takes the namespace of one that has ended.
    pub(super) fn keep_own(&self, namespace: NetworkNamespace) {
        let mut own = self.own();
        if own.len() < KEPT {
            own.push((namespace, Instant::now()));
        }
    }

    fn own(&self) -> MutexGuard<'_, Vec<(NetworkNamespace, Instant)>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was out comes back, or is nobody's any more.
    pub(crate) fn gone(&self) {
        self.out.fetch_sub(1, Ordering::AcqRel);
    }

    fn take_idle(&self, all: bool) -> Vec<Sandbox> {
        self.own().retain(|(_, since)| !all && since.elapsed() < IDLE);
        let mut free = self.lock();
        // The one that was used last stands at the end.
        let mut left = free.len();
        let stays = |(sandbox, since): &(Sandbox, Instant)| {
            left -= 1;
            let bound = if left == 0 { IDLE_LAST } else { IDLE };
            // What only pins the layers costs nothing, and is nowhere else.
            !all && (sandbox.network.is_none() || since.elapsed() < bound)
        };
        let (kept, idle): (Vec<_>, Vec<_>) = free.drain(..).partition(stays);
        *free = kept;
        idle.into_iter().map(|(sandbox, _)| sandbox).collect()
    }

    pub(crate) fn drain(&self) -> Vec<Sandbox> {
        self.take_idle(true)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Sandbox, Instant)>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the container that holds a sandbox's network still runs.
pub(super) fn stands(sandbox: &Sandbox) -> bool {
    sandbox.network.as_ref().is_some_and(is_there)
}

/// Whether the process that holds a network is still there.
pub(super) fn is_there(network: &SandboxNetwork) -> bool {
    network.process.id().is_some()
}
