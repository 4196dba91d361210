//! The driver's state: the pool, and the real things behind its keys. Every event goes through
//! [`Shared::apply`], which carries out what the pool asks for before the next event can come.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use skep_engine::{Engine, Launch, Stdio};
use skep_model::{Function, InstanceId, InvocationId, Journal, Phases};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::lease::Lease;
use crate::live::Live;
use crate::pool::{Action, CallerKey, Grant, InstanceKey, Pool};
use crate::work::{Refusal, Work};

/// What a caller waits for: its hold on an instance, and whether that must be thawed.
pub(crate) type Answer = Result<(Lease, bool), Refusal>;

/// A caller in the queue.
pub(crate) struct Waiting {
    pub(crate) work: Work,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// A launch that was asked for; it stays until nothing of the instance is left.
pub(crate) struct Begun {
    pub(crate) id: InstanceId,
    /// For which it is alone.
    pub(crate) invocation: Option<InvocationId>,
    pub(crate) cancelled: CancellationToken,
    /// The engine has answered: the instance is known by its address, or there is none.
    pub(crate) over: CancellationToken,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

/// What is behind the lock.
pub(crate) struct State {
    pub(crate) pool: Pool,
    pub(crate) waiting: BTreeMap<CallerKey, Waiting>,
    pub(crate) begun: BTreeMap<InstanceKey, Begun>,
    pub(crate) live: BTreeMap<InstanceKey, Arc<Live>>,
    pub(crate) addresses: HashMap<IpAddr, Vec<InstanceKey>>,
    /// What the clock's task sleeps until.
    armed: Option<Instant>,
}

/// Everything that one dispatcher has.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) journal: Arc<dyn Journal>,
    state: Mutex<State>,
    /// Every task that the dispatcher starts; draining waits for them.
    pub(crate) tasks: TaskTracker,
    /// Where they run, whoever asks: callers may be on threads that have other things to do.
    runtime: Handle,
    pub(crate) removals: Semaphore,
    /// Nothing is left, while draining.
    pub(crate) emptied: Notify,
    clock: Arc<Notify>,
}

impl Shared {
    pub(crate) fn start(config: Config, engine: Arc<dyn Engine>, journal: Arc<dyn Journal>) -> Arc<Self> {
        let state = State {
            pool: Pool::new(config.clone()),
            waiting: BTreeMap::new(),
            begun: BTreeMap::new(),
            live: BTreeMap::new(),
            addresses: HashMap::new(),
            armed: None,
        };
        let clock = Arc::new(Notify::new());
        let shared = Arc::new(Self {
            removals: Semaphore::new(config.concurrent_removals),
            config,
            engine,
            journal,
            state: Mutex::new(state),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            emptied: Notify::new(),
            clock: Arc::clone(&clock),
        });
        // It holds nothing while it sleeps, and ends with the last handle: nobody need wait for it.
        tokio::spawn(keep_time(Arc::downgrade(&shared), clock));
        shared
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an event happen, and carries out what follows from it.
    pub(crate) fn apply<R>(self: &Arc<Self>, event: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = tokio::time::Instant::now().into_std();
        // Leases whose caller has gone give themselves back, which is an event of its own: after this one.
        let mut unclaimed = Vec::new();
        let mut state = self.lock();
        let result = event(&mut state, now);
        for action in state.pool.take_actions() {
            unclaimed.extend(self.carry_out(&mut state, action));
        }
        let next = state.pool.next_deadline();
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            state.armed = next;
            self.clock.notify_one();
        }
        if state.pool.draining() && state.pool.is_empty() {
            self.emptied.notify_waiters();
        }
        drop(state);
        drop(unclaimed);
        result
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, action: Action) -> Option<Answer> {
        match action {
            Action::Launch {
                instance,
                function,
                caller,
            } => self.launch(state, instance, function, caller),
            Action::Cancel { instance } => {
                if let Some(begun) = state.begun.get(&instance) {
                    begun.cancelled.cancel();
                }
            }
            Action::Grant {
                caller,
                instance,
                grant,
            } => return self.grant(state, caller, instance, grant),
            Action::Refuse {
                caller,
                problem,
                phases,
            } => {
                let waiting = state.waiting.remove(&caller)?;
                return waiting.answer.send(Err(Refusal { problem, phases })).err();
            }
            Action::Freeze { instance } => {
                if let Some(live) = state.live.get(&instance).cloned() {
                    live.decide_frozen(true);
                    self.spawn(crate::instances::freeze(Arc::clone(self), live));
                }
            }
            Action::End { instance, gentle } => {
                if let Some(live) = state.live.get(&instance).cloned() {
                    live.ended.cancel();
                    self.spawn(crate::instances::remove(Arc::clone(self), live, gentle));
                }
            }
            Action::Hurry { instance } => {
                if let Some(live) = state.live.get(&instance) {
                    live.hurried.cancel();
                }
            }
        }
        None
    }

    fn launch(
        self: &Arc<Self>,
        state: &mut State,
        key: InstanceKey,
        function: Arc<Function>,
        caller: Option<CallerKey>,
    ) {
        let (id, cancelled) = (InstanceId::generate(), CancellationToken::new());
        let work = caller
            .and_then(|caller| state.waiting.get(&caller))
            .map(|waiting| &waiting.work);
        let invocation = work.map(|work| work.invocation);
        let launch = Launch {
            instance: id,
            function,
            environment: work.map(|work| work.environment.clone()).unwrap_or_default(),
            stdio: work.map_or(Stdio::Log, |work| work.stdio),
            socket: None,
        };
        state.begun.insert(
            key,
            Begun {
                id,
                invocation,
                cancelled: cancelled.clone(),
                over: CancellationToken::new(),
            },
        );
        self.spawn(crate::instances::live(
            Arc::clone(self),
            key,
            launch,
            invocation,
            cancelled,
        ));
    }

    /// Hands an instance to a caller, or hands the lease back if that caller has gone.
    fn grant(
        self: &Arc<Self>,
        state: &mut State,
        caller: CallerKey,
        key: InstanceKey,
        grant: Grant,
    ) -> Option<Answer> {
        let waiting = state.waiting.remove(&caller)?;
        let live = state.live.get(&key).cloned()?;
        let lease = self.lease(live, &waiting.work, grant);
        waiting.answer.send(Ok((lease, grant.thaw))).err()
    }

    /// A lease for a caller who need not wait: no queue, and no channel between two ends that are the same task.
    pub(crate) fn at_once(self: &Arc<Self>, function: &Function, work: &Work) -> Option<Lease> {
        if work.background || work.stdio != Stdio::Log {
            return None;
        }
        self.apply(|state, now| {
            let (key, grant) = state.pool.at_once(&function.name, now)?;
            // Whatever has served is live until the pool has it removed.
            let live = state.live.get(&key).cloned()?;
            Some(self.lease(live, work, grant))
        })
    }

    fn lease(self: &Arc<Self>, live: Arc<Live>, work: &Work, grant: Grant) -> Lease {
        live.decide_frozen(false);
        let mut handover = live.handover();
        let made = if grant.cold {
            handover.phases
        } else {
            Phases::default()
        };
        let (pipes, connection) = (handover.pipes.take(), handover.connection.take());
        drop(handover);
        Lease {
            shared: Arc::clone(self),
            invocation: work.invocation,
            background: work.background,
            pipes,
            connection,
            phases: Phases {
                queue: Some(grant.queue),
                ..made
            },
            reused: grant.reused,
            begun: false,
            finished: false,
            live,
        }
    }

    /// The invocations in instances with this address.
    pub(crate) fn invocations_at(&self, address: IpAddr) -> Vec<InvocationId> {
        let state = self.lock();
        let keys = state
            .addresses
            .get(&address)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let lives = keys.iter().filter_map(|key| state.live.get(key));
        lives.flat_map(|live| live.invocations().clone()).collect()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.clock.notify_one();
    }
}

/// Calls the pool when something is due. One task for everything; it sleeps while nothing is.
async fn keep_time(shared: Weak<Shared>, clock: Arc<Notify>) {
    while let Some(next) = shared.upgrade().map(|shared| {
        let mut state = shared.lock();
        state.armed = state.pool.next_deadline();
        state.armed
    }) {
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {
                if let Some(shared) = shared.upgrade() {
                    shared.apply(|state, now| state.pool.tick(now));
                }
            }
            () = clock.notified() => {}
        }
    }
}
