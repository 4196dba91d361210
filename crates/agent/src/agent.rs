//! The agent, put together: the engines, the store, the sandboxes, and what looks after them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;
use skep_catalogue::Catalogue;
use skep_dispatch::Dispatcher;
use skep_docker::DockerEngine;
use skep_engine::{Engine, EngineKind};
use skep_invoke::Invoker;
use skep_lean::{Engines, LeanEngine};
use skep_model::{Journal, Namespace, Record};
use skep_socket::{Sockets, SpawningEngine};
use skep_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budgets;
use crate::elsewhere::Afar;
use crate::gateways::Gateways;
use crate::given::{self, Copies};
use crate::known::Lineage;
use crate::names;
use crate::picture::{About, Pictures};
use crate::reply::AgentReply;
use crate::sandbox::{Made, Sandbox};
use crate::table::Table;
use crate::template::Read;
use crate::view::SandboxView;
use crate::watching;

/// Swarm reserved the memory that a task's instances may have: it is not counted twice.
const MEMORY: u64 = 1 << 60;

/// What an agent needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose sandboxes are looked after.
    pub namespace: Namespace,
    /// The Swarm's id of this node.
    pub node: String,
    /// Its name.
    pub hostname: String,
    /// How often everything is listed anew, in case an event was missed.
    pub relist: Duration,
}

/// Who works for an agent.
pub struct Parts {
    /// Makes instances as containers, and knows Docker.
    pub docker: DockerEngine,
    /// Makes them with the kernel's calls. It has to show [`Agent::folder`].
    pub lean: LeanEngine,
    /// Both, as a function chooses between them.
    pub engines: Engines,
    /// Records and logs of what ran here.
    pub store: Store,
    /// The Docker sockets of functions here.
    pub sockets: Sockets,
    /// The gateways that can be reached.
    pub gateways: Gateways,
}

/// What makes sandboxes of containers.
pub(crate) struct Adopter {
    pub(crate) docker: bollard::Docker,
    pub(crate) docker_root: String,
    pub(crate) namespace: Namespace,
    pub(crate) relist: Duration,
    pub(crate) copies: Copies,
    pub(crate) engines: Engines,
    /// The same, with sockets for those functions that have some.
    spawning: SpawningEngine<Engines>,
    lean: LeanEngine,
    store: Store,
    metrics: skep_invoke::Metrics,
    changed: Arc<tokio::sync::Notify>,
}

/// A node's agent. A clone is the same.
#[derive(Clone)]
pub struct Agent {
    pub(crate) adopter: Arc<Adopter>,
    pub(crate) table: Table,
    /// Containers that look like sandboxes and can't be read, with the reason.
    pub(crate) refused: Arc<Mutex<BTreeMap<String, String>>>,
    /// Whether Docker answers.
    pub(crate) connected: tokio::sync::watch::Sender<bool>,
    /// What is in force, as far as a node knows: the functions of its sandboxes.
    pub(crate) catalogue: tokio::sync::watch::Sender<Arc<Catalogue>>,
    /// Functions for which children are made here, whatever sandboxes there are.
    pub(crate) visited: Arc<Mutex<BTreeSet<String>>>,
    /// The names of all functions, as gateways know them; `None` before one has told.
    pub(crate) elsewhere: Arc<Mutex<Option<BTreeSet<String>>>>,
    pub(crate) sockets: Sockets,
    gateways: Gateways,
    budgets: Budgets,
    /// Whether nothing more is taken, wherever it comes up.
    draining: Arc<AtomicBool>,
    pub(crate) pictures: Pictures,
    about: About,
    /// What lets sandboxes go.
    tasks: TaskTracker,
}

impl Agent {
    /// The folder in which an agent keeps what Swarm gave its sandboxes: in memory.
    pub fn folder(namespace: &Namespace) -> PathBuf {
        given::folder(namespace.as_str())
    }

    /// Puts one together.
    ///
    /// # Errors
    /// The folder in memory can't be made.
    pub async fn new(config: Config, parts: Parts) -> std::io::Result<Self> {
        let folder = Self::folder(&config.namespace);
        let copies = tokio::task::spawn_blocking(move || Copies::prepare(&folder)).await;
        let copies = copies.map_err(std::io::Error::other)??;
        let docker = parts.docker.docker();
        let info = docker.info().await.unwrap_or_default();
        let reasons = parts.lean.reasons().to_vec();
        let kind = if reasons.is_empty() {
            EngineKind::Lean
        } else {
            EngineKind::Docker
        };
        let table = Table::default();
        let node = config.node.clone();
        let agent = Self {
            about: About {
                node: config.node,
                hostname: config.hostname,
                engine: kind.as_str().to_owned(),
                fallback: reasons,
            },
            adopter: Arc::new(Adopter {
                docker,
                docker_root: info
                    .docker_root_dir
                    .unwrap_or_else(|| "/var/lib/docker".to_owned()),
                namespace: config.namespace,
                relist: config.relist,
                copies,
                spawning: parts.sockets.engine(parts.engines.clone()),
                engines: parts.engines,
                lean: parts.lean,
                store: parts.store,
                metrics: skep_invoke::Metrics::default(),
                changed: table.changed.clone(),
            }),
            table,
            refused: Arc::default(),
            connected: tokio::sync::watch::Sender::default(),
            catalogue: tokio::sync::watch::Sender::default(),
            visited: Arc::default(),
            elsewhere: Arc::default(),
            sockets: parts.sockets,
            budgets: Budgets::new(parts.gateways.clone(), &node),
            gateways: parts.gateways,
            draining: Arc::default(),
            pictures: Pictures::new(),
            tasks: TaskTracker::new(),
        };
        agent.sockets.hold_with(Arc::new(agent.budgets.clone()));
        let afar = Afar::new(agent.gateways.clone(), &node);
        agent.sockets.reach_with(Arc::new(afar));
        agent.tell_sockets();
        let lineage = Arc::new(Lineage::of(agent.table.clone()));
        agent.sockets.connect(agent.catalogue.subscribe(), lineage);
        Ok(agent)
    }

    /// Adds what is counted of invocations.
    pub fn register(&self, registry: &mut Registry) {
        self.adopter.metrics.register(registry);
    }

    /// What is counted of invocations.
    pub fn metrics(&self) -> &skep_invoke::Metrics {
        &self.adopter.metrics
    }

    /// What answers gateways; `control` what isn't about invocations and pictures. `stop` ends what would last for
    /// ever.
    pub fn reply(&self, control: axum::Router, stop: CancellationToken) -> AgentReply {
        AgentReply {
            agent: self.clone(),
            control,
            stop,
        }
    }

    /// Every sandbox.
    pub fn sandboxes(&self) -> Vec<SandboxView> {
        let engines = &self.adopter.engines;
        let all = self.table.all();
        all.iter()
            .map(|sandbox| SandboxView::of(sandbox, engines))
            .collect()
    }

    /// Who know which invocation runs at which address.
    pub fn dispatchers(&self) -> Vec<Dispatcher> {
        let all = self.table.all();
        all.iter().map(|sandbox| sandbox.dispatcher.clone()).collect()
    }

    /// Containers that look like sandboxes and can't be read, each with the reason.
    pub fn refused(&self) -> BTreeMap<String, String> {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether Docker answers.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Returns when the sandboxes of this node were found once.
    pub async fn listed(&self) {
        // Its sender is part of this.
        let _ = self.connected.subscribe().wait_for(|connected| *connected).await;
    }

    /// Looks after the sandboxes and children, and draws what gateways are told of them, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::join!(
            self.gateways.find(stop.clone()),
            names::ask(self, &self.gateways, stop.clone()),
            self.budgets.tell(&self.sockets, stop.clone()),
            self.sockets.run_background(stop.clone()),
            watching::watch(self, stop.clone()),
            self.pictures.draw(
                self.about.clone(),
                self.table.clone(),
                self.sockets.clone(),
                stop.clone()
            ),
        );
    }

    /// Takes nothing more; returns when every invocation has ended, every instance, and every child that would not
    /// outlive this process. The sandboxes stay.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        let all = self.table.all();
        for sandbox in &all {
            sandbox.begin_drain();
        }
        futures::future::join_all(all.iter().map(|sandbox| sandbox.drained())).await;
        self.sockets.lean_ended().await;
    }

    /// Ends every instance at once, and forgets what was copied.
    pub async fn end(&self) {
        let all = self.table.all();
        futures::future::join_all(all.iter().map(|sandbox| sandbox.dispatcher.end_all())).await;
        self.sockets.end_lean().await;
        self.tasks.close();
        let copies = self.adopter.copies.clone();
        drop(tokio::task::spawn_blocking(move || copies.remove_all()).await);
    }

    /// A sandbox is there.
    pub(crate) fn gained(&self, sandbox: Arc<Sandbox>) {
        self.table.insert(sandbox.clone());
        if self.draining.load(Ordering::SeqCst) {
            sandbox.begin_drain();
        }
    }

    /// Swarm wants a task ended: it takes nothing more, and ends with its last invocation.
    pub(crate) fn let_go(&self, container: &str) {
        let Some(sandbox) = self.table.get(container) else {
            return;
        };
        if !sandbox.begin_drain() {
            return;
        }
        tracing::info!(container, function = %sandbox.function.name, "a sandbox is let go");
        self.tell_engines();
        let docker = self.adopter.docker.clone();
        self.tasks.spawn(async move {
            sandbox.drained().await;
            watching::end(&docker, &sandbox.id).await;
        });
    }

    /// A sandbox is gone, and what ran in it.
    pub(crate) fn lost(&self, sandbox: &Arc<Sandbox>) {
        tracing::info!(container = sandbox.id, function = %sandbox.function.name, "a sandbox is gone");
        sandbox.begin_drain();
        self.table.remove(&sandbox.id);
        self.sockets.network_gone(&sandbox.id);
        self.tell_engines();
        let (copies, gone) = (self.adopter.copies.clone(), sandbox.clone());
        self.tasks.spawn(async move {
            gone.dispatcher.end_all().await;
            let removing = tokio::task::spawn_blocking(move || copies.remove(&gone.id));
            drop(removing.await);
        });
    }

    /// A container that can't be read is spoken of once.
    pub(crate) fn refuse(&self, container: String, reason: String) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.get(&container) != Some(&reason) {
            tracing::warn!(container, reason, "a sandbox can't be used");
            refused.insert(container, reason);
        }
    }

    /// What is no longer there, or was adopted meanwhile, is not refused.
    pub(crate) fn forget_refused(&self, standing: &std::collections::BTreeSet<String>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|container, _| standing.contains(container) && self.table.get(container).is_none());
    }

    /// Tells the lean engine what it keeps ready.
    pub(crate) fn tell_engines(&self) {
        let sandboxes = self.table.all().into_iter();
        let lean = sandboxes.filter(|sandbox| {
            sandbox.reasons.is_empty()
                && !sandbox.is_draining()
                && self.adopter.engines.kind_for(&sandbox.function) == EngineKind::Lean
        });
        let functions = lean.map(|sandbox| sandbox.function.clone());
        self.adopter.lean.set_functions(functions.collect());
        self.tell_sockets();
    }
}

impl Adopter {
    /// Keeps the record of what came to nothing here.
    pub(crate) fn keep(&self, record: Record) {
        let journal: &dyn Journal = &self.store;
        journal.record(record);
    }

    /// A sandbox with everything that works in it.
    pub(crate) fn sandbox(&self, container: &str, read: Read) -> Sandbox {
        let function = Arc::new(read.function);
        let reasons = self.spawning.unsupported(&function);
        let dispatcher = Dispatcher::new(
            skep_dispatch::Config::new(MEMORY),
            Arc::new(self.spawning.clone()),
            Arc::new(self.store.clone()),
        );
        let invoker = Invoker::new(
            skep_invoke::Config {
                spill: self.store.directory(),
            },
            dispatcher.clone(),
            Arc::new(self.store.clone()),
            self.metrics.clone(),
        );
        let made = Made {
            id: container.to_owned(),
            task: read.task,
            service: read.definition.service,
            slots: read.slots,
            alone: read.alone,
            function,
            reasons,
            dispatcher,
            invoker,
        };
        Sandbox::new(made, self.changed.clone())
    }
}
