//! The parts of a running Skep, and how they are put together: from the engine upwards, each handed what it needs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use skep_backlog::Backlog;
use skep_catalogue::Catalogue;
use skep_control::Control;
use skep_discovery::{Connection, Discovery};
use skep_dispatch::Dispatcher;
use skep_docker::{CallReceiver, DockerEngine, EngineError, NamespaceLock};
use skep_engine::Engine;
use skep_gateway::{Gateway, Serving, Workers};
use skep_invoke::Invoker;
use skep_lean::{Engines, LeanEngine};
use skep_socket::{Sockets, SpawningEngine};
use skep_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::node::LocalNode;
use super::settings::Settings;
use super::sockets;
use super::spawner;
use super::supervisor::Supervisor;
use super::{memory, metrics};
use crate::exit::{Exit, Failed};

/// The name by which the drain finds the backlog among what is supervised.
pub(super) const BACKLOG: &str = "backlog of asynchronous invocations";
/// How long callers are kept waiting at the start for what is deployed.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// Everything that runs, as far as its end has to be brought about.
pub(super) struct Parts {
    pub(super) public: Serving,
    pub(super) calls: Serving,
    pub(super) invoker: Invoker,
    pub(super) dispatcher: Dispatcher,
    pub(super) store: Store,
    pub(super) sockets: Sockets,
    pub(super) lock: NamespaceLock,
    pub(super) supervisor: Supervisor,
    /// Gives up what the backlog runs; the next start repeats it.
    pub(super) backlog: AbortHandle,
    /// The backlog claims nothing more.
    pub(super) backlog_drain: CancellationToken,
    /// Everything that only serves the work ends as well.
    pub(super) stop: CancellationToken,
    pub(super) connection: watch::Receiver<Connection>,
}

impl Parts {
    /// Finds the engine, makes sure that this Skep is the only one of its namespace, and starts every part.
    pub(super) async fn start(
        settings: &Settings,
        public: TcpListener,
        control: TcpListener,
    ) -> Result<Self, Failed> {
        let (docker, calls) = connect(skep_docker::Config {
            docker_host: settings.docker_host.clone(),
            namespace: settings.namespace.clone(),
            call_port: settings.call_port,
        })
        .await?;
        let store = open_store(&settings.data_directory, settings.keep_for, settings.keep_bytes).await?;
        let lock = docker
            .lock()
            .await
            .map_err(|error| Failed::from_error(Exit::Failure, &error))?;
        docker.sweep().await;
        let spawner = spawner::start(&settings.data_directory)
            .map_err(|error| Failed::from_error(Exit::Failure, &error))?;
        let lean = skep_lean::Config {
            namespace: settings.namespace.clone(),
            data_directory: settings.data_directory.clone(),
            keep_layers: settings.keep_layers,
        };
        let lean = LeanEngine::new(lean, docker.clone(), spawner.clone()).await;
        let config = skep_socket::Config {
            namespace: settings.namespace.clone(),
            data_directory: settings.data_directory.clone(),
            docker_host: settings.docker_host.clone(),
        };
        let sockets = sockets::open(config, &docker).await?;
        sockets::with_lean(&sockets, &lean, settings.engine, false, &settings.data_directory).await?;
        let engines = Engines::new(docker.clone(), lean.clone(), settings.engine);
        let engine = sockets.engine(engines.clone());

        let mut registry = Registry::default();
        let discovery = discover(settings, &docker, &engine);
        let found = discovery.catalogue();
        let (announce, catalogue) = watch::channel(found.borrow().clone());
        let connection = discovery.connection();
        let dispatcher = dispatcher(settings, &docker, &engine, &store).await;
        sockets::connect(&sockets, &catalogue, &dispatcher);
        let invoke_metrics = skep_invoke::Metrics::default();
        let invoker = Invoker::new(
            skep_invoke::Config {
                spill: store.directory(),
            },
            dispatcher.clone(),
            Arc::new(store.clone()),
            invoke_metrics.clone(),
        );
        let gateway_metrics = skep_gateway::Metrics::default();
        let gateway = Gateway::new(
            settings.gateway.clone(),
            catalogue.clone(),
            invoker.clone(),
            store.clone(),
            gateway_metrics.clone(),
        )
        .on(workers()?);
        let backlog = Backlog::new(
            skep_backlog::Config::default(),
            store.clone(),
            catalogue.clone(),
            gateway.runner(),
        );

        docker.register_metrics(&mut registry);
        lean.register_metrics(&mut registry);
        discovery.register(&mut registry);
        store.register(&mut registry);
        invoke_metrics.register(&mut registry);
        gateway_metrics.register(&mut registry);
        backlog.register(&mut registry);
        skep_dispatch::metrics::register(&mut registry, &dispatcher);
        metrics::register(&mut registry, catalogue.clone());

        let stop = CancellationToken::new();
        let node = LocalNode {
            engine: Arc::new(engine.clone()),
            lean: lean.clone(),
            catalogue: catalogue.clone(),
            connection: connection.clone(),
            dispatcher: dispatcher.clone(),
            store: store.clone(),
            gateway: gateway.clone(),
            sockets: sockets.clone(),
        };
        let router = skep_control::router(
            Arc::new(node),
            Arc::new(registry),
            settings.access.clone(),
            stop.clone(),
        );
        let backlog_drain = CancellationToken::new();
        let mut supervisor = Supervisor::default();
        supervisor.watch(
            "control listener",
            Control::new(control, router, stop.clone()).run(),
        );
        supervisor.watch("docker engine's background", background(docker, stop.clone()));
        let directory = settings.data_directory.clone();
        spawner::watch(&mut supervisor, spawner, lean.clone(), directory, stop.clone());
        let (watched, background) = (sockets.clone(), stop.clone());
        supervisor.watch("functions' Docker sockets", async move {
            watched.run_background(background).await
        });
        supervisor.watch("discovery", watch_templates(discovery, stop.clone()));
        supervisor.watch(
            "hand-over of functions",
            hand_over(
                (found.clone(), announce),
                dispatcher.clone(),
                (engines, lean.clone()),
                stop.clone(),
            ),
        );
        supervisor.watch(
            "giving back of memory",
            memory::give_back(catalogue.clone(), stop.clone()),
        );
        let backlog = supervisor.watch(BACKLOG, backlog.run(backlog_drain.clone()));
        Ok(Self {
            public: gateway.serve_after(public, announced(connection.clone(), found, catalogue)),
            calls: gateway.serve_calls(calls),
            invoker,
            dispatcher,
            store,
            sockets,
            lock,
            supervisor,
            backlog,
            backlog_drain,
            stop,
            connection,
        })
    }
}

/// Returns when the engine's templates, or the Swarm's services, were read once.
pub(super) async fn listed(mut connection: watch::Receiver<Connection>) {
    // Discovery that ended is noticed by the supervisor.
    if connection.wait_for(|state| state.listed).await.is_err() {
        std::future::pending().await
    }
}

/// The same, but not for ever: callers get an answer also where the engine stalls.
pub(super) async fn first_look(connection: watch::Receiver<Connection>) {
    let _ = tokio::time::timeout(FIRST_LOOK, listed(connection)).await;
}

/// The same, until what was found has been handed over.
async fn announced(
    connection: watch::Receiver<Connection>,
    found: watch::Receiver<Arc<Catalogue>>,
    mut catalogue: watch::Receiver<Arc<Catalogue>>,
) {
    first_look(connection).await;
    // At the end of everything nobody hands over any more.
    drop(
        catalogue
            .wait_for(|shown| Arc::ptr_eq(shown, &found.borrow()))
            .await,
    );
}

pub(super) async fn connect(config: skep_docker::Config) -> Result<(DockerEngine, CallReceiver), Failed> {
    DockerEngine::connect(config).await.map_err(|error| match error {
        EngineError::Connect(_) => Failed::from_error(Exit::Unreachable, &error)
            .hint("`skep doctor` looks at everything that Skep needs"),
        EngineError::Lock(_) => Failed::from_error(Exit::Failure, &error),
    })
}

pub(super) async fn open_store(
    directory: &Path,
    keep_for: Duration,
    keep_bytes: u64,
) -> Result<Store, Failed> {
    let config = skep_store::Config {
        keep_for,
        keep_bytes,
        ..skep_store::Config::in_directory(directory)
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(config)).await;
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(error)) => Err(Failed::new(Exit::Failure, error.with_sources())),
        Err(error) => Err(Failed::from_error(Exit::Failure, &error)),
    }
}

/// A thread for each core: a connection stays on one of them, and the rest of Skep has threads of its own.
pub(super) fn workers() -> Result<Workers, Failed> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Workers::start(cores).map_err(|error| Failed::from_error(Exit::Failure, &error))
}

fn discover(settings: &Settings, docker: &DockerEngine, engine: &SpawningEngine<Engines>) -> Discovery {
    let config = skep_discovery::Config {
        namespace: settings.namespace.clone(),
        relist: settings.relist,
        scratch: settings.data_directory.clone(),
    };
    let judge = engine.clone();
    Discovery::start(
        docker.docker(),
        config,
        Arc::new(move |function| judge.unsupported(function)),
    )
}

async fn dispatcher(
    settings: &Settings,
    docker: &DockerEngine,
    engine: &SpawningEngine<Engines>,
    store: &Store,
) -> Dispatcher {
    let budget = match settings.memory_budget {
        Some(bytes) => bytes,
        None => memory_of(docker).await / 5 * 4,
    };
    tracing::debug!(bytes = budget, "the memory budget of all instances");
    Dispatcher::new(
        skep_dispatch::Config::new(budget),
        Arc::new(engine.clone()),
        Arc::new(store.clone()),
    )
}

/// The memory of the engine's host, which is not ours where it runs in a virtual machine.
async fn memory_of(engine: &DockerEngine) -> u64 {
    let info = engine.docker().info().await.ok();
    let total = info
        .and_then(|info| info.mem_total)
        .and_then(|bytes| u64::try_from(bytes).ok());
    total.filter(|bytes| *bytes > 0).unwrap_or_else(|| {
        tracing::warn!(
            "the engine does not tell how much memory it has; --memory-budget says what instances may use"
        );
        u64::MAX
    })
}

async fn background(engine: DockerEngine, stop: CancellationToken) {
    engine.run_background(stop).await;
}

async fn watch_templates(mut discovery: Discovery, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        Some(error) = discovery.ended() => tracing::error!(%error, "watching for templates failed"),
    }
}

/// Tells dispatching what is in force, whenever that changes, and the lean engine what it runs of that; then everybody
/// else, so that whoever asks for what was just said to be in force is not served by what was before.
async fn hand_over(
    (mut found, announce): (watch::Receiver<Arc<Catalogue>>, watch::Sender<Arc<Catalogue>>),
    dispatcher: Dispatcher,
    (engines, lean): (Engines, LeanEngine),
    stop: CancellationToken,
) {
    loop {
        let catalogue = found.borrow_and_update().clone();
        let functions: Vec<_> = catalogue.functions().cloned().collect();
        let leans = functions.iter().filter(|function| engines.is_leans(function));
        lean.set_functions(leans.cloned().collect());
        dispatcher.set_functions(functions);
        announce.send_replace(catalogue);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = found.changed() => if changed.is_err() { return },
        }
    }
}
