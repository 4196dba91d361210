//! Who has how many sandboxes: any gateway begins the first of a function that is asked for, the one with the lease does
//! all the rest. Every turn looks at what is there, compares, and takes one step for each function.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ServiceSpec;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use skep_catalogue::Catalogue;
use skep_model::{Function, FunctionName};
use skep_scale::{Lease, Limits, Reason, Scaler, Step};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::cluster::Config;
use crate::sandbox::{self, PauseConfig};
use crate::shared::Shared;
use crate::swarm::{Change, Known, Manager};

/// How long a holder that says nothing keeps the lease.
const TERM: Duration = Duration::from_secs(8);
/// How often the holder decides.
const TURN: Duration = Duration::from_millis(500);
/// How often it lists the services anew, besides knowing what it changed itself.
const LIST: Duration = Duration::from_secs(5);
/// So long a function whose first task was asked for is left to the Swarm.
const PATIENCE: Duration = Duration::from_secs(3);
/// Changes under way at once.
const AT_ONCE: usize = 8;

/// Decides until `stop`, as far as it may.
pub(crate) async fn run(
    shared: Arc<Shared>,
    config: &Config,
    docker: Docker,
    catalogue: watch::Receiver<Arc<Catalogue>>,
    listed: impl Future<Output = ()> + Send,
    stop: CancellationToken,
) {
    tokio::select! {
        () = listed => {}
        () = stop.cancelled() => return,
    }
    let manager = Manager::new(docker, shared.namespace().clone(), config);
    let firsts = Firsts::new(shared.clone(), manager.clone(), catalogue.clone());
    let decider = Decider::new(shared, manager, catalogue, config);
    tokio::select! {
        () = firsts.run() => {}
        () = decider.run() => {}
        () = stop.cancelled() => {}
    }
}

/// The first task of functions that are asked for and have none.
struct Firsts {
    shared: Arc<Shared>,
    manager: Manager,
    catalogue: watch::Receiver<Arc<Catalogue>>,
    pause: Option<PauseConfig>,
    asked: HashMap<FunctionName, Instant>,
}

impl Firsts {
    fn new(shared: Arc<Shared>, manager: Manager, catalogue: watch::Receiver<Arc<Catalogue>>) -> Self {
        Self {
            shared,
            manager,
            catalogue,
            pause: None,
            asked: HashMap::new(),
        }
    }

    async fn run(mut self) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let mut again = interval(PATIENCE);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Err(error) = self.learn_pause().await {
            tracing::warn!(%error, "the pause program can't be put on the Swarm yet");
        }
        loop {
            tokio::select! {
                () = self.shared.wanted.notified() => {}
                // Those who still wait are seen to once more.
                _ = again.tick() => self.asked.clear(),
                Some(()) = under_way.next() => continue,
            }
            let wanted = self.shared.pool().take_wanted();
            for name in wanted {
                if self.asked.get(&name).is_some_and(|at| at.elapsed() < PATIENCE) {
                    continue;
                }
                let function = self.catalogue.borrow().function(name.as_str()).cloned();
                let Some(function) = function else { continue };
                if let Err(error) = self.learn_pause().await {
                    tracing::warn!(%error, "the pause program can't be put on the Swarm");
                    continue;
                }
                let Some(pause) = self.pause.clone() else { continue };
                self.asked.insert(name, Instant::now());
                let manager = self.manager.clone();
                under_way.push(Box::pin(async move { begin(&manager, &function, &pause).await }));
            }
        }
    }

    async fn learn_pause(&mut self) -> Result<(), Error> {
        if self.pause.is_none() {
            self.pause = Some(self.manager.pause().await?);
        }
        Ok(())
    }
}

async fn begin(manager: &Manager, function: &Function, pause: &PauseConfig) {
    let tasks = Limits::of(&function.settings, false).floor.max(1);
    match manager.begin(function, pause, tasks).await {
        // Where another was faster, it did the same.
        Ok(Change::Done | Change::Raced) => {
            tracing::debug!(function = %function.name, "a sandbox is asked of the Swarm");
        }
        Err(error) => tracing::warn!(function = %function.name, %error, "the Swarm makes no sandbox"),
    }
}

/// Everything else, as long as this gateway has the lease.
struct Decider {
    shared: Arc<Shared>,
    manager: Manager,
    catalogue: watch::Receiver<Arc<Catalogue>>,
    lease: Lease,
    looked: Option<Instant>,
    scalers: HashMap<FunctionName, Scaler>,
    services: HashMap<String, Known>,
    listed: Option<Instant>,
    pause: Option<PauseConfig>,
}

/// One thing to change.
enum Task {
    Put(String, Box<ServiceSpec>),
    Remove(String, String),
}

impl Decider {
    fn new(
        shared: Arc<Shared>,
        manager: Manager,
        catalogue: watch::Receiver<Arc<Catalogue>>,
        config: &Config,
    ) -> Self {
        Self {
            shared,
            manager,
            catalogue,
            lease: Lease::new(config.gateway.clone(), config.address.clone(), TERM),
            looked: None,
            scalers: HashMap::new(),
            services: HashMap::new(),
            listed: None,
            pause: None,
        }
    }

    async fn run(mut self) {
        let mut turn = interval(TURN);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "the Swarm's manager does not do what scaling needs");
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Error> {
        let held = self.lease.holds(Instant::now());
        if self.looked.is_none_or(|at| at.elapsed() >= self.lease.period()) {
            self.look().await?;
        }
        let holds = self.lease.holds(Instant::now());
        if held != holds {
            tracing::info!(holds, "the lease of whoever scales");
            self.shared.scaling.holds.set(i64::from(holds));
            // What was true under the last lease says nothing now.
            self.scalers.clear();
            self.listed = None;
        }
        if !holds {
            return Ok(());
        }
        if self.listed.is_none_or(|at| at.elapsed() >= LIST) {
            self.services = self.manager.services().await?;
            self.listed = Some(Instant::now());
        }
        if self.pause.is_none() {
            self.pause = Some(self.manager.pause().await?);
        }
        let tasks = self.decide();
        self.act(tasks).await
    }

    async fn look(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        let found = self.manager.lease().await?;
        self.looked = Some(began);
        let step = self.lease.look(Instant::now(), found.as_ref());
        if step == Step::Wait {
            return Ok(());
        }
        match self.manager.step(step).await? {
            Change::Done => self.lease.written(began),
            Change::Raced => self.lease.lost(),
        }
        Ok(())
    }

    /// Compares what there is with what there is to be.
    fn decide(&mut self) -> Vec<Task> {
        let Some(pause) = self.pause.clone() else {
            return Vec::new();
        };
        let now = Instant::now();
        let (demand, alone) = {
            let pool = self.shared.pool();
            let demand = pool.demand(self.shared.namespace().as_str(), self.shared.gateway());
            (demand, pool.alone())
        };
        let catalogue = Arc::clone(&self.catalogue.borrow());
        let mut tasks = Vec::new();
        let mut names: HashSet<String> = HashSet::new();
        for function in catalogue.functions() {
            let name = sandbox::name(function);
            let known = self.services.get(&name);
            names.insert(name);
            // What was found out once stays true for the revision.
            let alone = known.is_some_and(|known| known.is_alone(function))
                || (!alone.is_empty()
                    && alone.contains(&(function.name.clone(), function.revision.to_string())));
            let limits = Limits::of(&function.settings, alone);
            let asked = demand.get(&function.name).copied().unwrap_or(0);
            if known.is_none() && asked == 0 && limits.floor == 0 {
                self.scalers.remove(&function.name);
                continue;
            }
            let current = known.map_or(0, |known| sandbox::tasks(&known.spec));
            let scaler = self
                .scalers
                .entry(function.name.clone())
                .or_insert_with(|| Scaler::new(limits, now));
            scaler.set_limits(limits);
            scaler.observe(now, asked);
            let target = scaler.decide(now, current);
            if let Some(task) = compare(function, known, &pause, target.tasks, limits.slots(), alone) {
                if target.reason != Reason::Steady {
                    tracing::info!(
                        function = %function.name, from = current, to = target.tasks, why = ?target.reason, "scaling"
                    );
                    self.shared.scaling.scaled(current, target.tasks);
                }
                tasks.push(task);
            }
        }
        let gone = self.services.iter().filter(|(name, _)| !names.contains(*name));
        tasks.extend(gone.map(|(name, known)| Task::Remove(name.clone(), known.id.clone())));
        self.scalers
            .retain(|name, _| catalogue.function(name.as_str()).is_some());
        tasks
    }

    async fn act(&mut self, tasks: Vec<Task>) -> Result<(), Error> {
        let manager = &self.manager;
        let services = &self.services;
        let done: Vec<(String, Result<Option<Known>, Error>)> = futures::stream::iter(tasks)
            .map(|task| async move {
                match task {
                    Task::Put(name, spec) => {
                        let put = put(manager, services.get(&name), &name, *spec).await;
                        (name, put)
                    }
                    Task::Remove(name, id) => {
                        tracing::info!(service = name, "the function is gone, and so are its sandboxes");
                        (name, manager.remove(&id).await.map(|()| None))
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (name, outcome) in done {
            match outcome {
                Ok(Some(known)) => drop(self.services.insert(name, known)),
                Ok(None) => drop(self.services.remove(&name)),
                Err(error) => {
                    tracing::warn!(service = name, %error, "a sandbox service can't be changed");
                    self.shared.scaling.failures.inc();
                    self.listed = None;
                }
            }
        }
        Ok(())
    }
}

/// What is to be done about one function's service; `None` where it is as it should be.
fn compare(
    function: &Function,
    known: Option<&Known>,
    pause: &PauseConfig,
    tasks: u32,
    slots: u32,
    alone: bool,
) -> Option<Task> {
    let as_it_is = |known: &Known| {
        sandbox::tasks(&known.spec) == tasks
            && known.slots == Some(slots)
            && sandbox::is_of(&known.spec, function)
    };
    if known.map_or(tasks == 0, as_it_is) {
        return None;
    }
    let spec = match sandbox::service(function, pause, tasks, alone) {
        Ok(spec) => spec,
        Err(error) => {
            tracing::warn!(function = %function.name, error, "its service can't be read back");
            return None;
        }
    };
    Some(Task::Put(sandbox::name(function), Box::new(spec)))
}

/// Brings a service to what it is to be; gives it as it is then.
async fn put(
    manager: &Manager,
    known: Option<&Known>,
    name: &str,
    spec: ServiceSpec,
) -> Result<Option<Known>, Error> {
    match known {
        Some(known) => manager.update(known, spec).await?,
        None => manager.create(spec).await?,
    };
    // As it is now, whoever was faster.
    manager.service(name).await
}
