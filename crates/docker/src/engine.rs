//! The engine's public face: connecting, what it can't do, and its background work.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use skep_engine::{Engine, EngineKind, Launch, LaunchError, LaunchErrorKind, Launched};
use skep_model::{Function, InstanceId, Namespace};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::Api;
use crate::call::{CallListeners, CallReceiver};
use crate::client::{ConnectError, Endpoint};
use crate::inside::Inside;
use crate::lock::{LockError, NamespaceLock};
use crate::metrics::Metrics;
use crate::own_networks::OwnNetworks;
use crate::reach::{self, Reach};
use crate::shared::Shared;
use crate::sweep::{self, SweepReport};
use crate::{launch, support};

/// How often the background looks whether something was left behind.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// How soon it looks after a call whose answer never came: an engine that stalled carries it out when it goes on.
const SOON: Duration = Duration::from_secs(3);
/// How long the sweep at the end may take.
const LAST_SWEEP: Duration = Duration::from_secs(5);
/// How often the networks are looked at again when no event says that one changed.
const NETWORK_PERIOD: Duration = Duration::from_secs(15);

/// What a [`DockerEngine`] needs to know.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The engine's address; without one, `DOCKER_HOST` or the usual socket.
    pub docker_host: Option<String>,
    /// Which namespace this Skep manages.
    pub namespace: Namespace,
    /// The port of `SKEP_URL`; 0 takes any free one.
    pub call_port: u16,
}

/// Why there is no engine to work with.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Its namespace is somebody else's.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Makes instances as Docker containers. A clone is the same engine.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    shared: Arc<Shared>,
    metrics: Metrics,
}

impl DockerEngine {
    /// Connects to Docker and finds out how instances can be reached. What comes out beside the engine are the
    /// connections of functions and services that call `SKEP_URL`.
    ///
    /// # Errors
    /// Why Docker can't be reached, and what to do.
    pub async fn connect(config: Config) -> Result<(Self, CallReceiver), EngineError> {
        let metrics = Metrics::default();
        let api = Api::connect(config.docker_host.as_deref(), metrics.clone()).await?;
        let reach = Reach::find(&api).await;
        tracing::debug!(?reach, "how instances are reached");
        let (calls, receiver) = CallListeners::new(config.call_port);
        let owner = InstanceId::generate().to_string();
        let own_networks = OwnNetworks::default();
        let shared = Shared::new(api, reach, config.namespace, owner, calls, own_networks);
        Ok((
            Self {
                shared: Arc::new(shared),
                metrics,
            },
            receiver,
        ))
    }

    /// Adds the engine's metrics to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// What the label `skep.owner` says on everything that this process makes.
    pub fn owner(&self) -> &str {
        &self.shared.owner
    }

    /// Tells the sweep that a container with this id in its label `skep.instance` is in use, though no instance of
    /// this engine: another engine's sandbox.
    pub fn keep(&self, id: InstanceId) {
        self.shared.live().insert(id);
    }

    /// Tells the sweep that it is no longer.
    pub fn release(&self, id: InstanceId) {
        self.shared.live().remove(&id);
    }

    /// What the engine's own host calls a folder of ours; `None` where it has no such folder: Skep runs in a container
    /// that has it to itself, or the engine is not here.
    pub async fn host_path(&self, path: &Path) -> Option<PathBuf> {
        let api = &self.shared.api;
        if matches!(api.endpoint, Endpoint::Tcp(_)) {
            return None;
        }
        let Some(own) = reach::own_container(api).await else {
            return Some(path.to_owned());
        };
        let mounts = api.inspect(&own).await.ok()?.mounts.unwrap_or_default();
        let below = mounts.into_iter().filter_map(|mount| {
            let (target, source) = (mount.destination?, mount.source?);
            let rest = path.strip_prefix(&target).ok()?;
            Some((target.len(), Path::new(&source).join(rest)))
        });
        below.max_by_key(|(depth, _)| *depth).map(|(_, source)| source)
    }

    /// The client to the same Docker, for those who watch it.
    pub fn docker(&self) -> bollard::Docker {
        self.shared.api.docker.clone()
    }

    /// Makes this process the one Skep of its namespace on this Docker, until the lock is dropped or released.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn lock(&self) -> Result<NamespaceLock, EngineError> {
        Ok(NamespaceLock::acquire(&self.shared).await?)
    }

    /// Why `http` functions can't be reached from this Skep at all; `None` where they can.
    pub fn unreachable(&self) -> Option<&str> {
        match &self.shared.reach {
            Reach::Nowhere { reason } => Some(reason),
            Reach::Namespaces { .. } | Reach::Networks { .. } => None,
        }
    }

    /// The address at which containers on a network reach this Skep, with its call listener open; `None` where that
    /// network has none.
    pub async fn call_url(&self, network: &str) -> Option<String> {
        self.shared.calls.url(&self.shared, network).await
    }

    /// Takes the connections of a listener that stands inside an instance's network, until the guard is dropped.
    pub fn serve_inside(&self, inside: &Inside, listener: TcpListener) -> DropGuard {
        let calls = &self.shared.calls;
        calls.serve_inside(&self.shared, listener, inside.known_as())
    }

    /// The port of every call listener; 0 while there is none yet and any would do.
    pub fn call_port(&self) -> u16 {
        self.shared.calls.port()
    }

    /// Opens call listeners on the networks that services came to use, closes those of networks that are gone. The
    /// background does so by itself, and a little later.
    pub async fn reconcile_networks(&self) {
        self.shared.calls.reconcile(&self.shared).await;
    }

    /// Removes every container of this namespace that an earlier Skep left behind.
    pub async fn sweep(&self) -> SweepReport {
        let report = sweep::sweep(&self.shared).await;
        self.metrics.count_swept(report.removed.len());
        report
    }

    /// Keeps Docker as it should be until `shutdown`: sweeps, and keeps a call listener on each network in use. At
    /// the end it waits for what runs on behalf of instances, and leaves the networks it joined.
    pub async fn run_background(&self, shutdown: CancellationToken) {
        let mut sweeps = tokio::time::interval(SWEEP_PERIOD);
        let mut looks = tokio::time::interval(NETWORK_PERIOD);
        for interval in [&mut sweeps, &mut looks] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.shared.doubt.notified() => sweeps.reset_after(SOON),
                _ = sweeps.tick() => {
                    let report = self.sweep().await;
                    if !report.answered || !report.left.is_empty() {
                        sweeps.reset_after(SOON);
                    }
                }
                _ = looks.tick() => self.reconcile_networks().await,
            }
        }
        self.shared.calls.close();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        // A call that an engine under stress carried out after it was given up made what nobody knows of.
        if tokio::time::timeout(LAST_SWEEP, self.sweep()).await.is_err() {
            tracing::warn!("the engine did not answer a last sweep; the next Skep makes it");
        }
        self.shared.own_networks.leave(&self.shared).await;
    }
}

impl Engine for DockerEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Docker
    }

    fn unsupported(&self, function: &Function) -> Vec<String> {
        support::unsupported(&self.shared.reach, function)
    }

    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>> {
        let shared = self.shared.clone();
        async move {
            // In a task of its own, so that a caller who goes away doesn't leave a container half made: the task
            // sees that nobody waits, and removes what it made.
            let (answer, answered) = tokio::sync::oneshot::channel();
            shared.tasks.spawn(launch::run(shared.clone(), launch, answer));
            answered.await.unwrap_or_else(|_| {
                let message = "the launch broke off".to_owned();
                Err(LaunchError {
                    kind: LaunchErrorKind::EngineUnavailable,
                    message,
                })
            })
        }
        .boxed()
    }
}
