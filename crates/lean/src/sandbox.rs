//! Sandboxes: a Docker container for each template in use, which pins the image's layers and, for a function on a
//! network, holds the network namespace that its instances run in.

mod request;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, NetworkConnectRequest,
    NetworkDisconnectRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateContainerOptionsBuilder, InspectContainerOptions,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use skep_docker::{FirstProcess, Inside, Ports};
use skep_engine::LaunchErrorKind;
use skep_model::{Function, InstanceId};
use skep_sys::NetworkNamespace;
use tokio::sync::OnceCell;
use tokio_util::sync::DropGuard;

pub(crate) use self::request::{Others, is_first, sleeping};
use crate::layers::Layers;
use crate::life::Life;
use crate::plan::{Network, Plan, Volume};

/// How long an answer of Docker is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same where the engine may have to copy a whole image.
const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// How long is waited before a removal is tried again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// A sandbox, ready for instances.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// The container.
    pub(crate) container: String,
    /// The name under which the engine's sweep knows it.
    pub(crate) id: InstanceId,
    /// The image's layers.
    pub(crate) layers: Layers,
    /// Its network, for a function that has one.
    pub(crate) network: Option<SandboxNetwork>,
    /// Whether somebody else made it, and removes it.
    pub(crate) given: bool,
}

/// The network side of a sandbox.
#[derive(Debug)]
pub(crate) struct SandboxNetwork {
    pub(crate) process: FirstProcess,
    pub(crate) life: Life,
    pub(crate) namespace: NetworkNamespace,
    pub(crate) addresses: Vec<IpAddr>,
    /// For the instances that are in it together.
    pub(crate) ports: Arc<Ports>,
    pub(crate) files: NameFiles,
    /// Its networks' names, the first being the one that it starts with.
    pub(crate) names: Vec<String>,
    /// The listener inside it, where no address of the host's leads to Skep.
    pub(crate) calls: OnceCell<Option<(Inside, DropGuard)>>,
}

/// What Docker wrote for a sandbox's processes, so that they find others and themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameFiles {
    pub(crate) resolv_conf: String,
    pub(crate) hosts: String,
    /// What it calls the sandbox there.
    pub(crate) hostname: String,
}

impl SandboxNetwork {
    /// The namespace as a descriptor of its own, to be handed over.
    pub(crate) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        self.namespace.descriptor()
    }
}

/// What went wrong while a sandbox was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("{0}: Docker does not answer")]
    Silent(&'static str),
    #[error("{0}: {1}")]
    Docker(&'static str, #[source] bollard::errors::Error),
    #[error("{0}: {1}")]
    Machine(&'static str, #[source] std::io::Error),
    #[error("its image can't be flattened for the lean engine: {0}")]
    Layers(Arc<str>),
    #[error("{0}")]
    Unexpected(&'static str),
}

impl SandboxError {
    /// Whether there is no such container.
    fn is_absence(&self) -> bool {
        use bollard::errors::Error::DockerResponseServerError as Answer;
        matches!(self, Self::Docker(_, Answer { status_code: 404, .. }))
    }

    /// Whether another function would fail as well.
    pub(crate) fn kind(&self) -> LaunchErrorKind {
        use bollard::errors::Error::DockerResponseServerError as Answer;
        match self {
            Self::Docker(_, Answer { .. }) | Self::Layers(_) => LaunchErrorKind::StartFailed,
            _ => LaunchErrorKind::EngineUnavailable,
        }
    }
}

/// What every sandbox is made with.
pub(crate) struct Maker<'a> {
    pub(crate) docker: &'a Docker,
    /// What `skep.owner` says.
    pub(crate) owner: &'a str,
    /// The sleeping program, on the host.
    pub(crate) pause: &'a Path,
}

/// Makes the sandbox of a function, under a name that the engine's sweep knows already: it comes by at any time. What
/// was made is removed again where that fails. `layers` are the image's where the engine shows them to nobody; `others`
/// are in the place of the template's networks.
pub(crate) async fn make(
    maker: &Maker<'_>,
    function: &Function,
    (plan, others): (&Plan, Option<Others<'_>>),
    layers: Option<Layers>,
    id: InstanceId,
) -> Result<Sandbox, SandboxError> {
    let name = name(function, "sandbox", &id);
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let request = request::of(maker, function, (plan, others), &id);
    let create = maker.docker.create_container(Some(options), request.body);
    let created = within("making the sandbox", create).await?;
    let known = (id, layers);
    match finish(maker.docker, &created.id, known, (plan, others), request.later).await {
        Ok(sandbox) => Ok(sandbox),
        Err(error) => {
            remove(maker.docker, &created.id).await;
            Err(error)
        }
    }
}

/// `skep-NAMESPACE-FUNCTION-WHAT-` and the random end of its id.
pub(crate) fn name(function: &Function, what: &str, id: &InstanceId) -> String {
    let text = id.to_string();
    let short = &text[text.len() - 12..];
    format!("skep-{}-{}-{what}-{short}", function.namespace, function.name)
}

async fn finish(
    docker: &Docker,
    container: &str,
    (id, layers): (InstanceId, Option<Layers>),
    (plan, others): (&Plan, Option<Others<'_>>),
    later: Vec<(String, EndpointSettings)>,
) -> Result<Sandbox, SandboxError> {
    for (network, endpoint) in later {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint),
        };
        let connected = docker.connect_network(&network, request);
        within("attaching the sandbox to its networks", connected).await?;
    }
    if others.is_some_and(|others| others.names.is_empty()) {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            ..NetworkDisconnectRequest::default()
        };
        let left = docker.disconnect_network("none", request);
        within("taking the sandbox off its network", left).await?;
    }
    let network = if others.is_some() {
        Network::Sandbox
    } else {
        plan.network
    };
    if network == Network::Sandbox || mounts_on_start(docker, &plan.volumes).await? {
        start(docker, container).await?;
    }
    let look = docker.inspect_container(container, None::<InspectContainerOptions>);
    let inspect = within("looking at the sandbox", look).await?;
    let layers = match layers {
        Some(layers) => layers,
        None => overlay2(&inspect)?,
    };
    let network = match network {
        Network::Own | Network::Joined => None,
        Network::Sandbox => Some(network_of(&inspect, container)?),
    };
    Ok(Sandbox {
        container: container.to_owned(),
        id,
        layers,
        network,
        given: false,
    })
}

/// The sandbox that a function's own container is.
pub(crate) async fn given(
    docker: &Docker,
    function: &Function,
    layers: Option<Layers>,
    id: InstanceId,
) -> Result<Sandbox, SandboxError> {
    let container = &*function.template.id.0;
    let look = docker.inspect_container(container, None::<InspectContainerOptions>);
    let inspect = within("looking at the sandbox", look).await?;
    Ok(Sandbox {
        container: container.to_owned(),
        id,
        layers: layers.map_or_else(|| overlay2(&inspect), Ok)?,
        network: Some(network_of(&inspect, container)?),
        given: true,
    })
}

/// The network of a container that is somebody else's.
pub(crate) async fn joined(docker: &Docker, container: &str) -> Result<SandboxNetwork, SandboxError> {
    let look = docker.inspect_container(container, None::<InspectContainerOptions>);
    let inspect = within("looking at the container whose network it is", look).await?;
    network_of(&inspect, container)
}

/// What Docker has written for a sandbox by now.
pub(crate) async fn name_files(docker: &Docker, container: &str) -> Result<NameFiles, SandboxError> {
    let look = docker.inspect_container(container, None::<InspectContainerOptions>);
    files_of(&within("looking at the sandbox", look).await?)
}

fn files_of(inspect: &ContainerInspectResponse) -> Result<NameFiles, SandboxError> {
    let read = |path: &Option<String>| {
        let text = std::fs::read_to_string(path.as_deref().unwrap_or_default());
        text.map_err(|error| SandboxError::Machine("reading the sandbox's name resolution", error))
    };
    let hostname = inspect.config.as_ref().and_then(|config| config.hostname.clone());
    Ok(NameFiles {
        resolv_conf: read(&inspect.resolv_conf_path)?,
        hosts: read(&inspect.hosts_path)?,
        hostname: hostname.unwrap_or_default(),
    })
}

/// Removes a sandbox, unless it is somebody else's.
pub(crate) async fn dispose(docker: &Docker, sandbox: &Sandbox) {
    if !sandbox.given {
        remove(docker, &sandbox.container).await;
    }
}

pub(crate) async fn start(docker: &Docker, container: &str) -> Result<(), SandboxError> {
    let started = docker.start_container(container, None::<StartContainerOptions>);
    within("starting the sandbox", started).await
}

/// Whether one of these volumes is only there while a container with it runs: a network's share, say.
async fn mounts_on_start(docker: &Docker, volumes: &[Volume]) -> Result<bool, SandboxError> {
    for volume in volumes {
        let found = within("looking at a volume", docker.inspect_volume(&volume.name)).await?;
        if !found.options.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a sandbox, and waits until it is gone: Docker may be busy with it, or somebody else removes it at the same
/// time. The engine's sweep finds it where that fails.
pub(crate) async fn remove(docker: &Docker, container: &str) {
    let mut pause = FIRST_PAUSE;
    loop {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        let removed = docker.remove_container(container, Some(options));
        let Err(error) = within("removing the sandbox", removed).await else {
            return;
        };
        if error.is_absence() {
            return;
        }
        if pause > LAST_PAUSE {
            tracing::warn!(container, %error, "a sandbox could not be removed; the sweep finds it");
            return;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

pub(crate) async fn within<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, SandboxError> {
    within_time(PATIENCE, what, call).await
}

/// Makes a container, however long the engine takes to copy the whole image for it; gives back its id.
pub(crate) async fn create_patiently(
    docker: &Docker,
    options: CreateContainerOptions,
    body: ContainerCreateBody,
) -> Result<String, SandboxError> {
    // The client's own limit would come first.
    let docker = docker.clone().with_timeout(LONG_PATIENCE);
    let create = docker.create_container(Some(options), body);
    let created = within_time(LONG_PATIENCE, "making a container of the image", create).await?;
    Ok(created.id)
}

async fn within_time<T>(
    patience: Duration,
    what: &'static str,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, SandboxError> {
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => answer.map_err(|error| SandboxError::Docker(what, error)),
        Err(_) => Err(SandboxError::Silent(what)),
    }
}

/// The image's layers by the short names that overlay2 keeps for them, so that many fit into a mount's options. The
/// container's own layer is left out, which goes with it; [`crate::base`] has the same in it.
fn overlay2(inspect: &ContainerInspectResponse) -> Result<Layers, SandboxError> {
    let upper = inspect
        .graph_driver
        .as_ref()
        .and_then(|driver| driver.data.get("UpperDir"));
    let own = upper.and_then(|upper| Path::new(upper).parent());
    let own = own.ok_or(SandboxError::Unexpected(
        "Docker does not say where the sandbox's layers are",
    ))?;
    let base = own
        .parent()
        .ok_or(SandboxError::Unexpected("the sandbox's layers lie at the root"))?;
    let lower = std::fs::read_to_string(own.join("lower"));
    let lower = lower.map_err(|error| SandboxError::Machine("reading the names of the layers", error))?;
    let own_name = own.file_name().unwrap_or_default().to_string_lossy();
    let init = format!("../{own_name}-init/diff");
    let is_own = |name: &str| std::fs::read_link(base.join(name)).is_ok_and(|to| to == Path::new(&init));
    let names = lower.trim().split(':').filter(|name| !is_own(name));
    Ok(Layers {
        base: base.display().to_string(),
        lower: names.map(str::to_owned).collect(),
        _pin: None,
    })
}

fn network_of(inspect: &ContainerInspectResponse, container: &str) -> Result<SandboxNetwork, SandboxError> {
    let unexpected = SandboxError::Unexpected;
    let pid = inspect
        .state
        .as_ref()
        .and_then(|state| state.pid)
        .and_then(|pid| u32::try_from(pid).ok());
    let process = pid.and_then(|pid| FirstProcess::of(pid, container));
    let process = process.ok_or(unexpected(
        "the sandbox's process is gone or can't be seen from here",
    ))?;
    let id = process.id().ok_or(unexpected("the sandbox's process is gone"))?;
    let namespace = NetworkNamespace::of_process(id)
        .map_err(|error| SandboxError::Machine("opening the sandbox's network namespace", error))?;
    let life = Life::of(&process)
        .map_err(|error| SandboxError::Machine("following the sandbox's process", error))?;
    let attached = inspect
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.clone());
    let mode = inspect
        .host_config
        .as_ref()
        .and_then(|host| host.network_mode.clone());
    let mut attached: Vec<(String, EndpointSettings)> = attached.into_iter().flatten().collect();
    attached.sort_by_key(|(name, endpoint)| !is_first(mode.as_deref(), name, endpoint));
    let texts = attached
        .iter()
        .flat_map(|(_, endpoint)| [&endpoint.ip_address, &endpoint.global_ipv6_address]);
    let addresses = texts.filter_map(|text| text.as_deref()?.parse().ok()).collect();
    Ok(SandboxNetwork {
        process,
        life,
        namespace,
        addresses,
        ports: Ports::new(),
        files: files_of(inspect)?,
        names: attached.into_iter().map(|(name, _)| name).collect(),
        calls: OnceCell::new(),
    })
}
