//! The public face: sockets for the instances of another engine.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use skep_catalogue::Catalogue;
use skep_docker::{DockerEngine, Endpoint};
use skep_engine::{
    Engine, EngineKind, Exit, Instance, Launch, LaunchError, LaunchErrorKind, Launched, Listener,
};
use skep_lean::LeanEngine;
use skep_model::{EngineChoice, Function, InstanceId, InvocationId, Namespace, Recycle};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::child::Child;
use crate::daemon::Daemon;
use crate::holder::{Holder, Parent};
use crate::lean::Lean;
use crate::share::Shares;
use crate::shared::{Beginning, Shared};
use crate::{listener, network};

/// The newest version of the API whose requests this crate knows.
const NEWEST: (u32, u32) = (1, 51);
/// The oldest that is spoken to any client.
const OLDEST: (u32, u32) = (1, 24);
/// The variable that `exec` and `cgi` instances find their invocation in.
const INVOCATION: &str = "SKEP_INVOCATION";

/// Why a socket can't be shown to a container of Docker's.
const UNPLACED: &str = "skep.spawn: the engine can't bind the function's socket from Skep's data directory, which its \
    host does not have; run skep on the engine's own host, or with a folder of it (-v /var/lib/skep:/var/lib/skep)";

/// Who knows which invocations an instance serves.
pub trait Lineage: Send + Sync + fmt::Debug + 'static {
    /// Those that it serves now.
    fn invocations_in(&self, instance: InstanceId) -> Vec<InvocationId>;
}

/// What [`Sockets`] need to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which namespace this Skep manages.
    pub namespace: Namespace,
    /// Where it may keep files.
    pub data_directory: PathBuf,
    /// The engine's address; without one, `DOCKER_HOST` or the usual socket.
    pub docker_host: Option<String>,
}

/// All sockets of one Skep. A clone is the same.
#[derive(Debug, Clone)]
pub struct Sockets {
    pub(crate) shared: Arc<Shared>,
}

impl Sockets {
    /// Finds out what the engine speaks. No socket is made before an instance asks for one.
    ///
    /// # Errors
    /// The engine can't be asked, or the folder of sockets can't be made.
    pub async fn new(config: Config, engine: &DockerEngine) -> io::Result<Self> {
        let client = engine.docker();
        let version = client.client_version();
        let spoken = (version.major_version as u32, version.minor_version as u32).min(NEWEST);
        let about = client.version().await.map_err(io::Error::other)?;
        let info = client.info().await.map_err(io::Error::other)?;
        let oldest = about.min_api_version.as_deref().and_then(read_version);
        let endpoint = Endpoint::read(config.docker_host.as_deref()).map_err(io::Error::other)?;
        let text = |value: Option<Value>| {
            value
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let driver = text(serde_json::to_value(info.cgroup_driver).ok());
        let cgroups = text(serde_json::to_value(info.cgroup_version).ok());
        let directory = config.data_directory.join("sockets");
        let directory = std::path::absolute(directory)?;
        std::fs::create_dir_all(&directory)?;
        let closed_to_others = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&directory, closed_to_others)?;
        let left = std::fs::read_dir(&directory)?.flatten();
        let left = left.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let shared = Shared::new(Beginning {
            left: left.collect(),
            docker: client.clone(),
            daemon: Daemon::new(endpoint, spoken),
            namespace: config.namespace,
            owner: engine.owner().to_owned(),
            host_directory: engine.host_path(&directory).await,
            directory,
            engine_version: about.version.unwrap_or_default(),
            oldest_version: oldest.unwrap_or(OLDEST).max(OLDEST),
            shares: Shares::find(&driver, &cgroups),
        });
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Has the lean engine make those children that it makes as Docker does; `choice` is what `skep.engine=auto` means
    /// here. Where functions run in a Swarm's tasks, their children are in those networks, with them. Those of an
    /// earlier Skep are known again.
    ///
    /// # Errors
    /// That no folder can be made for them.
    pub async fn use_lean(
        &self,
        engine: LeanEngine,
        choice: EngineChoice,
        in_tasks: bool,
        data: &Path,
    ) -> io::Result<()> {
        let directory = std::path::absolute(data)?.join("children");
        std::fs::create_dir_all(&directory)?;
        std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        self.shared
            .set_lean(Lean::new(engine, choice, in_tasks, directory));
        if let Some(lean) = self.shared.lean() {
            lean.recover(&self.shared).await;
        }
        Ok(())
    }

    /// Ends the children whose processes would end with Skep anyway, so that it is known how they did.
    pub async fn end_lean(&self) {
        if let Some(lean) = self.shared.lean() {
            lean.end_all(&self.shared).await;
        }
    }

    /// A task is gone whose network children were in.
    pub fn network_gone(&self, container: &str) {
        if let Some(lean) = self.shared.lean() {
            lean.network_gone(container);
        }
    }

    /// Returns when no child runs that would end with Skep.
    pub async fn lean_ended(&self) {
        if let Some(lean) = self.shared.lean() {
            lean.all_ended().await;
        }
    }

    /// Wraps an engine: its instances get sockets where their functions have a grant.
    pub fn engine<E: Engine>(&self, inner: E) -> SpawningEngine<E> {
        SpawningEngine {
            inner: Arc::new(inner),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Says what is in force, and who knows which invocations an instance serves. Once.
    pub fn connect(&self, catalogue: watch::Receiver<Arc<Catalogue>>, lineage: Arc<dyn Lineage>) {
        drop(self.shared.catalogue.set(catalogue));
        drop(self.shared.lineage.set(lineage));
    }

    /// Every child that there is, and the last ones that were.
    pub fn children(&self) -> Vec<Child> {
        let mut all: Vec<Child> = self.shared.history.all();
        all.extend(self.shared.children().all().cloned());
        all.sort_by_key(|child| child.created);
        all
    }
}

fn read_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// An engine whose instances have sockets.
#[derive(Debug, Clone)]
pub struct SpawningEngine<E> {
    inner: Arc<E>,
    shared: Arc<Shared>,
}

impl<E: Engine> Engine for SpawningEngine<E> {
    fn kind(&self) -> EngineKind {
        self.inner.kind()
    }

    fn kind_for(&self, function: &Function) -> EngineKind {
        self.inner.kind_for(function)
    }

    fn fallback(&self, function: &Function) -> Vec<String> {
        self.inner.fallback(function)
    }

    fn unsupported(&self, function: &Function) -> Vec<String> {
        let mut reasons = self.inner.unsupported(function);
        if function.settings.spawn.is_some() {
            reasons.extend(own_socket(function));
            if self.kind_for(function) == EngineKind::Docker && self.shared.host_directory.is_none() {
                reasons.push(UNPLACED.to_owned());
            }
        }
        reasons
    }

    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>> {
        if launch.function.settings.spawn.is_none() {
            return self.inner.launch(launch);
        }
        let (inner, shared) = (Arc::clone(&self.inner), Arc::clone(&self.shared));
        async move {
            let (mut launch, open) = with_socket(&shared, launch)?;
            launch.socket = match inner.kind_for(&launch.function) {
                EngineKind::Docker => listener::host_path(&shared, &open.id),
                EngineKind::Lean => Some(listener::path(&shared, &open.id)),
            };
            let mut launched = inner.launch(launch).await?;
            launched.instance = Arc::new(Holding {
                inner: launched.instance,
                open,
            });
            Ok(launched)
        }
        .boxed()
    }
}

/// A template that mounts something at the socket's place would have two things there.
fn own_socket(function: &Function) -> Option<String> {
    let inspect: Value = serde_json::from_str(&function.template.inspect).ok()?;
    let mounts = inspect.get("Mounts").and_then(Value::as_array)?;
    let taken = mounts.iter().any(|mount| {
        let target = mount.get("Destination").and_then(Value::as_str);
        matches!(target, Some(skep_grant::SOCKET | "/run/docker.sock"))
    });
    taken.then(|| {
        format!(
            "skep.spawn gives the function a socket of its own at {}, and the container mounts something else there: \
             remove one of the two",
            skep_grant::SOCKET
        )
    })
}

fn with_socket(shared: &Arc<Shared>, launch: Launch) -> Result<(Launch, Open), LaunchError> {
    let function = &launch.function;
    let named = launch.environment.iter().find(|(name, _)| name == INVOCATION);
    let holder = Holder {
        function: function.name.clone(),
        spawn: function.settings.spawn.clone().unwrap_or_default(),
        parent: Parent::Instance {
            id: launch.instance,
            invocation: named.and_then(|(_, id)| id.parse().ok()),
            several: function.settings.recycle != Recycle::Request,
        },
        network: network::of_template(function),
        generation: 1,
        above: Vec::new(),
        roots: Default::default(),
    };
    let id = launch.instance.to_string().replace('-', "");
    let opened = listener::open(shared, &id, Arc::new(holder));
    // Made before the result is looked at: a socket that was made halfway is removed as well.
    let open = Open {
        shared: Arc::clone(shared),
        id,
    };
    opened.map_err(|error| LaunchError {
        kind: LaunchErrorKind::EngineUnavailable,
        message: format!("making the instance's Docker socket: {error}"),
    })?;
    Ok((launch, open))
}

/// An open socket; dropped, it is closed and removed.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    id: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        listener::close(&self.shared, &self.id);
    }
}

/// An instance that holds a socket.
#[derive(Debug)]
struct Holding {
    inner: Arc<dyn Instance>,
    open: Open,
}

impl Instance for Holding {
    fn id(&self) -> InstanceId {
        self.inner.id()
    }

    fn locator(&self) -> String {
        self.inner.locator()
    }

    fn port(&self) -> u16 {
        self.inner.port()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.inner.addresses()
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.inner.connect()
    }

    fn listeners(&self) -> BoxFuture<'_, Vec<Listener>> {
        self.inner.listeners()
    }

    fn exited(&self) -> BoxFuture<'_, Exit> {
        self.inner.exited()
    }

    fn try_exited(&self) -> Option<Exit> {
        self.inner.try_exited()
    }

    fn freeze(&self) -> BoxFuture<'_, io::Result<()>> {
        self.inner.freeze()
    }

    fn thaw(&self) -> BoxFuture<'_, io::Result<()>> {
        self.inner.thaw()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.inner.stop()
    }

    fn remove(&self) -> BoxFuture<'_, ()> {
        async move {
            self.inner.remove().await;
            listener::close(&self.open.shared, &self.open.id);
        }
        .boxed()
    }
}
