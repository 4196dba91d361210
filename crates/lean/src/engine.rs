//! The engine's public face: whether it can be used, what it can't give, its sandboxes, its background.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use skep_docker::DockerEngine;
use skep_engine::{Engine, EngineKind, Launch, LaunchError, Launched};
use skep_model::{Function, InstanceId, Namespace};
use skep_spawner::Spawner;
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cgroups::Cgroups;
use crate::children::Grounds;
use crate::folders::Folders;
use crate::held::Held;
use crate::host::Host;
use crate::layers::{Exporter, Image, Layers, Source, Store, Waiting};
use crate::metrics::Metrics;
use crate::pool::{Definition, Pool};
use crate::sandbox::{Maker, SandboxError};
use crate::usual::{self, Usual};
use crate::view::SandboxView;
use crate::{launch, plan, sandbox, stock, trial};

/// How often sandboxes are looked at for being idle; oftener where layers are kept for a shorter time.
const LOOK: Duration = Duration::from_secs(10);
const SHORTEST_LOOK: Duration = Duration::from_millis(200);
/// How long the end waits for places that are still taken, and how often it looks.
const LAST_PLACES: Duration = Duration::from_secs(5);
const LAST_LOOK: Duration = Duration::from_millis(10);

/// What a [`LeanEngine`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which namespace this Skep manages.
    pub namespace: Namespace,
    /// Where it may keep files.
    pub data_directory: PathBuf,
    /// How long the flattened layers of an image stay after the last who needed them.
    pub keep_layers: Duration,
}

/// Makes instances with the kernel's own calls. A clone is the same engine.
#[derive(Clone)]
pub struct LeanEngine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: DockerEngine,
    client: bollard::Docker,
    pub(crate) host: Result<Host, Vec<String>>,
    cgroups: Option<Cgroups>,
    pub(crate) spawner: Spawner,
    pub(crate) namespace: Namespace,
    pub(crate) folders: Folders,
    /// Images that had to be flattened; there where lean can be used.
    layers: Option<Arc<Store>>,
    /// How often sandboxes and layers are looked at for being idle.
    look: Duration,
    owner: String,
    usual: OnceCell<Usual>,
    functions: watch::Sender<Vec<Arc<Function>>>,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: TaskTracker,
    pub(crate) pool: Pool,
    /// Room for prepared instances, whatever the functions.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) grounds: Grounds,
}

impl Shared {
    pub(crate) fn docker(&self) -> &bollard::Docker {
        &self.client
    }

    pub(crate) fn maker(&self) -> Maker<'_> {
        Maker {
            docker: &self.client,
            owner: &self.owner,
            pause: &self.folders.pause,
        }
    }

    /// Skep's own cgroup tree.
    ///
    /// # Errors
    /// That there is none, where lean can't be used.
    pub(crate) fn cgroups(&self) -> Result<&Cgroups, String> {
        let missing = || "the lean engine has no cgroups here".to_owned();
        self.cgroups.as_ref().ok_or_else(missing)
    }

    fn exporter(&self) -> Exporter {
        Exporter {
            docker: self.client.clone(),
            engine: self.engine.clone(),
            owner: self.owner.clone(),
            namespace: self.namespace.clone(),
        }
    }

    /// The store and a function's image, where the engine shows layers to nobody.
    fn hidden(&self, function: &Function) -> Option<(&Arc<Store>, Image)> {
        let host = self.host.as_ref().ok()?;
        let store = self.layers.as_ref().filter(|_| host.layers != Source::Overlay2)?;
        Some((store, Image::of(&function.template)?))
    }

    /// Why an instance of a function can't be made at once; `None` where it can.
    pub(crate) fn waiting(&self, function: &Function) -> Option<Waiting> {
        if let Some(reason) = self.cgroups.as_ref().and_then(Cgroups::broken) {
            return Some(Waiting::Cgroups(reason));
        }
        let (store, image) = self.hidden(function)?;
        store.waiting(&image)
    }

    /// Sees to it that a function's layers will be there.
    pub(crate) fn want(&self, function: &Function) {
        if let Some((store, image)) = self.hidden(function) {
            store.want(&self.exporter(), &self.tasks, &image);
        }
    }

    /// A function's layers out of Skep's own store; `None` where the engine's are used.
    ///
    /// # Errors
    /// Why they can't be made.
    pub(crate) async fn flattened(&self, function: &Function) -> Result<Option<Layers>, SandboxError> {
        let Some((store, image)) = self.hidden(function) else {
            return Ok(None);
        };
        let got = store.get(&self.exporter(), &self.tasks, &image).await;
        got.map(Some).map_err(SandboxError::Layers)
    }

    /// What Docker gives without being asked, found out by the first who needs it, with any image.
    pub(crate) async fn usual(&self, image: &str) -> Result<&Usual, SandboxError> {
        let look = async || {
            let id = InstanceId::generate();
            self.keep(id);
            let found = usual::look(&self.maker(), image, &self.namespace, id).await;
            self.release(id);
            found
        };
        self.usual.get_or_try_init(look).await
    }

    /// `/etc/resolv.conf` in a container without a network.
    pub(crate) fn resolv_conf(&self) -> &str {
        self.usual.get().map_or("", |usual| &usual.resolv_conf)
    }

    /// Tells the sweep that a container is in use.
    pub(crate) fn keep(&self, id: InstanceId) {
        self.engine.keep(id);
    }

    pub(crate) fn release(&self, id: InstanceId) {
        self.engine.release(id);
    }

    /// Removes a sandbox in the background.
    pub(crate) fn discard(&self, held: Arc<Held>) {
        if let Some(stock) = &held.stock {
            stock.close();
        }
        let (client, spawner, engine) = (self.client.clone(), self.spawner.clone(), self.engine.clone());
        self.tasks.spawn(async move {
            sandbox::dispose(&client, &held.sandbox).await;
            engine.release(held.sandbox.id);
            if let Err(error) = spawner.forget(held.spec).await {
                tracing::debug!(%error, "the spawner is gone, and with it what it kept");
            }
        });
    }
}

impl LeanEngine {
    /// Looks whether lean can be used on this node, by making an instance, and prepares what it needs. Where it can't,
    /// every function has the reason from [`Engine::unsupported`].
    pub async fn new(config: Config, engine: DockerEngine, spawner: Spawner) -> Self {
        Self::showing(config, engine, spawner, None).await
    }

    /// The same, with a folder of Skep's own from which templates may mount though Docker does not see it.
    pub async fn showing(
        config: Config,
        engine: DockerEngine,
        spawner: Spawner,
        own: Option<PathBuf>,
    ) -> Self {
        let client = engine.docker();
        let mut host = Host::probe(&client).await;
        if let Ok(host) = &mut host {
            host.sight.add(own);
        }
        let (mut folders, mut cgroups, mut layers) = (Folders::default(), None, None);
        if let Ok(found) = &host {
            let prepared = prepare(found, &config).await;
            match prepared {
                Ok((made, tree, store)) => {
                    let tried = trial::run(&spawner, found, &tree, &made).await;
                    (folders, cgroups, layers) = (made, Some(tree), Some(Arc::new(store)));
                    if let Err(reason) = tried {
                        host = Err(vec![reason]);
                    }
                }
                Err(reason) => host = Err(vec![reason]),
            }
        }
        let owner = engine.owner().to_owned();
        let shared = Shared {
            engine,
            client,
            host,
            cgroups,
            spawner,
            namespace: config.namespace,
            folders,
            layers,
            look: config.keep_layers.clamp(SHORTEST_LOOK, LOOK),
            owner,
            usual: OnceCell::new(),
            functions: watch::Sender::default(),
            metrics: Metrics::default(),
            tasks: TaskTracker::new(),
            pool: Pool::default(),
            room: Arc::new(Semaphore::new(stock::MOST)),
            grounds: Grounds::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Why lean can't be used on this node at all; empty where it can.
    pub fn reasons(&self) -> &[String] {
        match &self.shared.host {
            Err(reasons) => reasons,
            Ok(_) => &[],
        }
    }

    /// Adds the engine's metrics to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry, &self.shared);
    }

    /// Tells which functions this engine runs: it keeps sandboxes for those that ask for it, and ends those of the
    /// others.
    pub fn set_functions(&self, functions: Vec<Arc<Function>>) {
        self.shared.functions.send_replace(functions);
    }

    /// Every sandbox that stands, the oldest first.
    pub fn sandboxes(&self) -> Vec<SandboxView> {
        self.shared
            .pool
            .all()
            .iter()
            .map(|held| SandboxView::of(held))
            .collect()
    }

    /// Ends every instance: nobody else would, once the spawner has ended. It waits for the kernel.
    pub async fn end_instances(&self) {
        let shared = self.shared.clone();
        let cleared = tokio::task::spawn_blocking(move || {
            if let Some(cgroups) = &shared.cgroups {
                cgroups.clear();
            }
        });
        if cleared.await.is_err() {
            tracing::error!("the instances of a spawner that has ended could not be cleared up");
        }
    }

    /// Keeps sandboxes as they should be until `shutdown`; then ends every one, and removes the cgroup tree.
    pub async fn run_background(&self, shutdown: CancellationToken) {
        let shared = &self.shared;
        let mut functions = shared.functions.subscribe();
        let mut looks = tokio::time::interval(shared.look);
        let spent = shared.pool.spent.clone();
        loop {
            // A sender is kept by `shared`, so that this never ends by itself.
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = looks.tick() => {}
                _ = functions.changed() => {}
                () = spent.notified() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.look_after_sandboxes() => {}
            }
        }
        if let Some(store) = &shared.layers {
            store.stop();
        }
        self.end_sandboxes().await;
        let begin = Instant::now();
        while shared.grounds.are_used() && begin.elapsed() < LAST_PLACES {
            tokio::time::sleep(LAST_LOOK).await;
        }
        shared.grounds.discard(shared, true);
        shared.tasks.close();
        shared.tasks.wait().await;
        if let Some(cgroups) = &shared.cgroups {
            cgroups.remove();
        }
    }

    /// Ends every sandbox: one with an instance that is just being let go a little later, and one that was being made
    /// for somebody who has gone once it stands.
    async fn end_sandboxes(&self) {
        let begin = Instant::now();
        loop {
            self.discard_idle(true);
            if self.shared.pool.is_empty() || begin.elapsed() > LAST_PLACES {
                return;
            }
            tokio::time::sleep(LAST_LOOK).await;
        }
    }

    async fn look_after_sandboxes(&self) {
        self.shared.look_after_cgroups().await;
        self.discard_idle(false);
        self.shared.grounds.discard(&self.shared, false);
        let functions = self.shared.functions.borrow().clone();
        if let Some(store) = &self.shared.layers {
            let images = functions
                .iter()
                .filter_map(|function| self.shared.hidden(function));
            let needed: BTreeSet<Image> = images.map(|(_, image)| image).collect();
            store.collect(&needed).await;
        }
        for function in functions
            .iter()
            .filter(|function| function.settings.sandboxes > 0)
        {
            self.shared.pool.keep_started(&self.shared, function).await;
        }
    }

    fn discard_idle(&self, all: bool) {
        let functions = self.shared.functions.borrow().clone();
        let in_force: HashSet<_> = functions
            .iter()
            .map(|function| (&function.template.id, &function.revision))
            .collect();
        let is_in_force = |(id, revision): &Definition| in_force.contains(&(id, revision));
        for held in self.shared.pool.take_idle(is_in_force, all) {
            self.shared.discard(held);
        }
    }
}

/// Makes what the instances of this node have in common.
async fn prepare(host: &Host, config: &Config) -> Result<(Folders, Cgroups, Store), String> {
    let folders = Folders::prepare(&config.data_directory)
        .map_err(|error| format!("the lean engine's folders can't be made: {error}"))?;
    host.sight.check(&folders.pause)?;
    let opened = Store::open(&folders.layers, config.keep_layers);
    let layers = opened.map_err(|error| format!("the store of layers can't be opened: {error}"))?;
    let (host, namespace) = (host.clone(), config.namespace.clone());
    // It may wait for systemd, and for the end of what a crash left.
    let cgroups = tokio::task::spawn_blocking(move || Cgroups::prepare(&host, &namespace)).await;
    let cgroups = cgroups.map_err(|error| format!("making Skep's cgroups was cut short: {error}"))??;
    Ok((folders, cgroups, layers))
}

impl Engine for LeanEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Lean
    }

    fn unsupported(&self, function: &Function) -> Vec<String> {
        match &self.shared.host {
            Err(reasons) => reasons.clone(),
            Ok(host) => plan::plan(function, host, None).err().unwrap_or_default(),
        }
    }

    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>> {
        launch::run(self.shared.clone(), launch).boxed()
    }
}
