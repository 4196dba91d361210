//! A sandbox's stock of prepared instances: made up to their program's start while nobody waits for them, taken by
//! requests, ended when nobody asks any more. None of them has run anything of the function's.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use skep_model::{Function, InstanceId, Recycle};
use skep_spawner::{
    Ahead, Child, Failure, Launch, Mount, MountKind, Order, Prepared, Refused, Spec, Streams,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use crate::calls::Calls;
use crate::cgroups::Cgroups;
use crate::demand::Demand;
use crate::engine::Shared;
use crate::held::Held;
use crate::launch;
use crate::plan::{Network, Plan, Sharing};

/// The most on this node, whatever the functions.
pub(crate) const MOST: usize = 32;

/// One of the stock.
pub(crate) struct Stocked {
    prepared: Prepared,
    /// How often Skep's cgroups had been mended when it was begun: since then they may be others.
    mended: u64,
    _room: OwnedSemaphorePermit,
}

impl Stocked {
    /// Whether it can still be used, as far as is known.
    fn is_good(&mut self, shared: &Shared) -> bool {
        self.mended == mended(shared) && self.prepared.waits()
    }
}

/// Whether it shows what is looked at when an instance starts.
pub(crate) fn has_binds(spec: &Spec) -> bool {
    let bind = |mount: &Mount| matches!(mount.kind, MountKind::Bind { .. });
    spec.mounts.iter().any(bind)
}

pub(crate) fn mended(shared: &Shared) -> u64 {
    shared.cgroups().map_or(0, Cgroups::mended)
}

/// What a sandbox's prepared instances are made with.
pub(crate) struct Stock {
    /// The port of the listener that each has in a network of its own.
    listener: Option<u16>,
    state: Mutex<State>,
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    demand: Demand,
    ready: VecDeque<Stocked>,
    making: usize,
    /// Requests that wait for one that is being made.
    waiting: VecDeque<oneshot::Sender<Stocked>>,
    /// Whether somebody waits for the time when nobody asked for long.
    watched: bool,
}

impl Stock {
    /// One for a sandbox of a function whose instances can be prepared: none shows what is looked at when it starts, and
    /// each is made for a request.
    pub(crate) fn of(function: &Function, plan: &Plan, spec: &Spec) -> Option<Self> {
        let settings = &function.settings;
        let fit = settings.recycle == Recycle::Request
            && settings.spares == 0
            && settings.spawn.is_none()
            && plan.sharing != Sharing::Once
            && !has_binds(spec);
        let listener = || Calls::port_beside(launch::port(function));
        fit.then(|| Self {
            // Where each has a network of its own, its listener is made with that.
            listener: (plan.network == Network::Own).then(listener),
            state: Mutex::default(),
            closed: CancellationToken::new(),
        })
    }

    /// One for a request, with which so many are at work; where one is just being made, that one.
    pub(crate) async fn take(&self, shared: &Shared, at_work: usize) -> Option<Stocked> {
        let coming = {
            let mut state = self.lock();
            state.demand.asked(Instant::now(), at_work);
            while let Some(mut stocked) = state.ready.pop_front() {
                if stocked.is_good(shared) {
                    return Some(stocked);
                }
            }
            if state.waiting.len() >= state.making {
                return None;
            }
            let (give, coming) = oneshot::channel();
            state.waiting.push_back(give);
            coming
        };
        let mut stocked = coming.await.ok()?;
        stocked.is_good(shared).then_some(stocked)
    }

    /// Ends all, and makes no more.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        let mut state = self.lock();
        state.ready.clear();
        state.waiting.clear();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().ready.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a prepared instance run, or makes one; gives the name of its cgroups too.
pub(crate) async fn spawn(
    shared: &Shared,
    request: Launch,
    mut streams: Streams,
    stocked: Option<Stocked>,
) -> (Result<Child, Failure>, String) {
    if let Some(stocked) = stocked {
        let order = Order {
            hostname: request.hostname.clone(),
            environment: request.environment.clone(),
            files: request.files.clone(),
        };
        let name = stocked.prepared.name().to_owned();
        match stocked.prepared.run(&order, streams).await {
            Ok(child) => {
                shared.metrics.prepared_used();
                return (Ok(child), name);
            }
            Err(Refused::Failed(failure)) => return (Err(failure), name),
            Err(Refused::Gone(unused)) => streams = unused,
        }
    }
    let name = request.name.clone();
    (shared.spawner.launch(request, streams).await, name)
}

/// Makes as many as are wanted, in the background.
pub(crate) fn fill(shared: &Arc<Shared>, held: &Arc<Held>) {
    let Some(stock) = &held.stock else { return };
    let (missing, unwatched) = {
        let mut state = stock.lock();
        let wanted = state.demand.wanted(Instant::now());
        if stock.closed.is_cancelled() || wanted == 0 {
            return;
        }
        let missing = wanted.saturating_sub(state.ready.len() + state.making);
        state.making += missing;
        (missing, !std::mem::replace(&mut state.watched, true))
    };
    for _ in 0..missing {
        let (shared, held) = (shared.clone(), held.clone());
        shared
            .tasks
            .clone()
            .spawn(async move { add(&shared, &held).await });
    }
    if unwatched {
        let held = held.clone();
        shared.tasks.spawn(async move { watch(&held).await });
    }
}

async fn add(shared: &Arc<Shared>, held: &Arc<Held>) {
    let Some(stock) = &held.stock else { return };
    let made = make(shared, held, stock).await;
    let mut state = stock.lock();
    state.making -= 1;
    match made {
        Some(mut stocked) if !stock.closed.is_cancelled() => {
            while let Some(next) = state.waiting.pop_front() {
                match next.send(stocked) {
                    Ok(()) => return,
                    // Whoever waited is gone.
                    Err(unused) => stocked = unused,
                }
            }
            state.ready.push_back(stocked);
        }
        // Nobody is to wait for one that does not come.
        _ => drop(state.waiting.pop_front()),
    }
}

async fn make(shared: &Shared, held: &Held, stock: &Stock) -> Option<Stocked> {
    let (room, mended) = (shared.room.clone().try_acquire_owned().ok()?, mended(shared));
    let network = held.sandbox.network.as_ref().map(|network| network.descriptor());
    let network: Option<OwnedFd> = network.transpose().ok()?;
    let ahead = Ahead {
        spec: held.spec,
        name: InstanceId::generate().to_string(),
        listener: stock.listener,
        own: None,
    };
    let made = shared.spawner.make_ahead(ahead, network).await;
    // A request that needs one makes its own, and says what is wrong.
    let made = made.inspect_err(|failure| tracing::debug!(%failure, "no instance could be prepared"));
    Some(Stocked {
        prepared: made.ok()?,
        mended,
        _room: room,
    })
}

/// Ends the stock once nobody has asked for long, and with its sandbox.
async fn watch(held: &Held) {
    let Some(stock) = &held.stock else { return };
    let network = held.sandbox.network.as_ref();
    let lost = network.map_or_else(CancellationToken::new, |network| network.life.end());
    loop {
        let until = stock.lock().demand.until().unwrap_or_else(Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            () = stock.closed.cancelled() => return,
            () = lost.cancelled() => return stock.close(),
        }
        let mut state = stock.lock();
        if state.demand.wanted(Instant::now()) == 0 {
            state.ready.clear();
            state.watched = false;
            return;
        }
    }
}
