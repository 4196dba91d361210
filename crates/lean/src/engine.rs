//! The engine's public face: launching, and what it can't give.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::process::Signal;
use skep_docker::{DockerEngine, FirstProcess, Way};
use skep_engine::{Engine, EngineKind, Exit, Launch, LaunchError, LaunchErrorKind, Launched, Stdio};
use skep_model::{Function, Handler, InstanceId, Namespace, PortChoice};
use skep_spawner::Spawner;
use skep_sys::NetworkNamespace;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::host::Host;
use crate::instance::LeanInstance;
use crate::plan;
use crate::pool::{Held, Place, PlaceError, Pool};
use crate::{cgroups, files, pause, sandbox, streams};

/// How often sandboxes are looked at for being idle.
const LOOK: Duration = Duration::from_secs(10);
/// The port for instances that have their network to themselves and ask for none.
const DEFAULT_PORT: u16 = 8080;

/// What a [`LeanEngine`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which namespace this Skep manages.
    pub namespace: Namespace,
    /// Where it may keep files.
    pub data_directory: PathBuf,
}

/// Makes instances with the kernel's own calls. A clone is the same engine.
#[derive(Clone)]
pub struct LeanEngine {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    engine: DockerEngine,
    client: bollard::Docker,
    pub(crate) host: Result<Host, Vec<String>>,
    pub(crate) spawner: Spawner,
    pub(crate) namespace: Namespace,
    pub(crate) pause: PathBuf,
    pub(crate) staging: PathBuf,
    owner: String,
    tasks: TaskTracker,
    pool: Pool,
}

impl Shared {
    pub(crate) fn docker(&self) -> &bollard::Docker {
        &self.client
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
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
        let (client, spawner, engine) = (self.client.clone(), self.spawner.clone(), self.engine.clone());
        self.tasks.spawn(async move {
            sandbox::remove(&client, &held.sandbox.container).await;
            engine.release(held.sandbox.id);
            if let Err(error) = spawner.forget(held.spec).await {
                tracing::debug!(%error, "the spawner is gone, and with it what it kept");
            }
        });
    }
}

impl LeanEngine {
    /// Looks whether lean can be used on this node and prepares what it needs. Where it can't, every function has the
    /// reason from [`Engine::unsupported`].
    pub async fn new(config: Config, engine: DockerEngine, spawner: Spawner) -> Self {
        let client = engine.docker();
        let mut host = Host::probe(&client).await;
        let staging = config.data_directory.join("root");
        let mut pause = PathBuf::new();
        if let Ok(found) = &host {
            let prepared = std::fs::create_dir_all(&staging)
                .and_then(|()| pause::install(&config.data_directory))
                .and_then(|path| cgroups::prepare(found, &config.namespace).map(|()| path));
            match prepared {
                Ok(path) => pause = path,
                Err(error) => host = Err(vec![format!("the lean engine's folders can't be made: {error}")]),
            }
        }
        let owner = engine.owner().to_owned();
        let shared = Shared {
            engine,
            client,
            host,
            spawner,
            namespace: config.namespace,
            pause,
            staging,
            owner,
            tasks: TaskTracker::new(),
            pool: Pool::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Ends idle sandboxes until `shutdown`; then every one, and the cgroup tree.
    pub async fn run_background(&self, shutdown: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = looks.tick() => self.discard_idle(false).await,
            }
        }
        self.discard_idle(true).await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        if let Ok(host) = &self.shared.host {
            cgroups::remove(host, &self.shared.namespace);
        }
    }

    async fn discard_idle(&self, all: bool) {
        for held in self.shared.pool.take_idle(all).await {
            self.shared.discard(held);
        }
    }
}

impl Engine for LeanEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Lean
    }

    fn unsupported(&self, function: &Function) -> Vec<String> {
        match &self.shared.host {
            Err(reasons) => reasons.clone(),
            Ok(host) => plan::plan(function, host).err().unwrap_or_default(),
        }
    }

    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>> {
        make(self.shared.clone(), launch).boxed()
    }
}

async fn make(shared: Arc<Shared>, launch: Launch) -> Result<Launched, LaunchError> {
    let place = shared
        .pool
        .place(&shared, &launch.function)
        .await
        .map_err(|error| LaunchError {
            kind: match &error {
                PlaceError::Unsupported(_) => LaunchErrorKind::StartFailed,
                PlaceError::Sandbox(error) => error.kind(),
                PlaceError::Spawner(_) => LaunchErrorKind::EngineUnavailable,
            },
            message: error.to_string(),
        })?;
    let begin = Instant::now();
    let plan = &place.entry.plan;
    let network = place.held.sandbox.network.as_ref();
    let name = launch.instance.to_string();
    let hostname = plan
        .hostname
        .clone()
        .unwrap_or_else(|| name[name.len() - 12..].to_owned());
    let port = port(&launch, &place).await?;
    let mut environment = Vec::new();
    if !plan
        .process
        .environment
        .iter()
        .any(|variable| variable.starts_with("HOSTNAME="))
    {
        environment.push(format!("HOSTNAME={hostname}"));
    }
    environment.extend(
        launch
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    environment.push(format!("SKEP_FUNCTION={}", launch.function.name));
    if let Some(network) = network
        && let Some(url) = shared.engine.call_url(&network.name).await
    {
        environment.push(format!("SKEP_URL={url}"));
    }
    let is_http = launch.function.settings.handler == Handler::Http;
    if is_http {
        environment.push(format!("PORT={port}"));
    }
    let machine = |what: &str, error: std::io::Error| LaunchError {
        kind: LaunchErrorKind::EngineUnavailable,
        message: format!("{what}: {error}"),
    };
    let descriptor = network.map(sandbox::SandboxNetwork::descriptor).transpose();
    let descriptor = descriptor.map_err(|error| machine("opening the network namespace", error))?;
    let (streams, ours) = streams::make(launch.stdio, descriptor, &shared.tasks)
        .map_err(|error| machine("making the standard streams", error))?;
    let request = skep_spawner::Launch {
        spec: place.held.spec,
        name: name.clone(),
        hostname: hostname.clone(),
        environment,
        files: files::contents(network, &hostname, &plan.extra_hosts),
    };
    let child = shared
        .spawner
        .launch(request, streams)
        .await
        .map_err(|failure| LaunchError {
            kind: if failure.template {
                LaunchErrorKind::StartFailed
            } else {
                LaunchErrorKind::EngineUnavailable
            },
            message: failure.to_string(),
        })?;
    let start = begin.elapsed();
    let (ended, exit) = watch::channel(None);
    let exited = child.exited;
    shared.tasks.spawn(async move {
        let exit = exited.await.map(|exited| Exit {
            code: exited.code.into(),
            out_of_memory: exited.out_of_memory,
        });
        // The sender closed means that the spawner has ended, which kills its children.
        ended.send_replace(Some(exit.unwrap_or(Exit {
            code: 137,
            out_of_memory: false,
        })));
    });
    let host = shared
        .host
        .as_ref()
        .map_err(|reasons| machine("looking at the node", std::io::Error::other(reasons.join("; "))))?;
    let freezer = cgroups::freezer(host, &shared.namespace, &name);
    let (way, process) = way(&place, child.process, &name, is_http);
    let instance = LeanInstance {
        id: launch.instance,
        port,
        addresses: network
            .map(|network| network.addresses.clone())
            .unwrap_or_default(),
        way,
        process,
        process_id: child.process,
        descriptor: child.descriptor,
        stop: (signal(&plan.stop_signal), plan.stop_grace),
        freezer,
        exit,
        place,
    };
    let sandbox = instance.place.made;
    Ok(Launched {
        instance: Arc::new(instance),
        pipes: ours.pipes,
        output: ours.output,
        sandbox,
        start,
    })
}

/// The fixed port; where others may listen too, one that is free; else the template's own `PORT`.
async fn port(launch: &Launch, place: &Place) -> Result<u16, LaunchError> {
    if let PortChoice::Fixed(port) = launch.function.settings.port {
        return Ok(port);
    }
    let shared_network = place
        .held
        .sandbox
        .network
        .as_ref()
        .filter(|_| launch.stdio == Stdio::Log);
    if let Some(network) = shared_network {
        let any = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
        let free = network
            .namespace
            .listen(any)
            .await
            .and_then(|listener| listener.local_addr());
        return free.map(|address| address.port()).map_err(|error| LaunchError {
            kind: LaunchErrorKind::EngineUnavailable,
            message: format!("finding a free port in the sandbox: {error}"),
        });
    }
    let own = launch
        .function
        .template
        .port_variable
        .as_deref()
        .and_then(|text| text.parse().ok());
    Ok(own.filter(|port| *port > 0).unwrap_or(DEFAULT_PORT))
}

/// The way to an `http` instance; another needs none, and may have ended before it could be looked at.
fn way(place: &Place, process_id: u32, name: &str, is_http: bool) -> (Way, Option<FirstProcess>) {
    if !is_http {
        return (
            Way::Closed("the instance serves no requests over a port".to_owned()),
            None,
        );
    }
    let process = FirstProcess::of(process_id, name);
    let way = match &place.held.sandbox.network {
        Some(network) => Way::Namespace {
            namespace: network.namespace.clone(),
            address: network
                .addresses
                .first()
                .copied()
                .unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
            foreign: true,
        },
        None => match process
            .as_ref()
            .and_then(FirstProcess::id)
            .map(NetworkNamespace::of_process)
        {
            Some(Ok(namespace)) => Way::Namespace {
                namespace,
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                foreign: false,
            },
            _ => Way::Closed("the instance has ended".to_owned()),
        },
    };
    (way, process)
}

/// A stop signal by name or number, as Docker takes it; SIGTERM where none is named.
fn signal(name: &str) -> Signal {
    let plain = name.strip_prefix("SIG").unwrap_or(name);
    match plain {
        "HUP" | "1" => Signal::HUP,
        "INT" | "2" => Signal::INT,
        "QUIT" | "3" => Signal::QUIT,
        "KILL" | "9" => Signal::KILL,
        "USR1" | "10" => Signal::USR1,
        "USR2" | "12" => Signal::USR2,
        "WINCH" | "28" => Signal::WINCH,
        _ => Signal::TERM,
    }
}
