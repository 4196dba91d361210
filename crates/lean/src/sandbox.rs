//! Sandboxes: a Docker container for each template in use, which pins the image's layers and, for a function on a
//! network, holds the network namespace that its instances run in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HealthConfig, HostConfig,
    NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use skep_docker::FirstProcess;
use skep_engine::LaunchErrorKind;
use skep_model::{Function, InstanceId, label};
use skep_sys::NetworkNamespace;

use crate::plan::Network;

/// Where the sleeping program stands inside.
const PAUSE: &str = "/.skep-pause";

/// How long an answer of Docker is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sandbox, ready for instances.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// The container.
    pub(crate) container: String,
    /// The name under which the engine's sweep knows it.
    pub(crate) id: InstanceId,
    /// The folder of the image's layers, and their names in it, the top one first.
    pub(crate) layers: (String, Vec<String>),
    /// Its network, for a function that has one.
    pub(crate) network: Option<SandboxNetwork>,
}

/// The network side of a sandbox.
#[derive(Debug)]
pub(crate) struct SandboxNetwork {
    pub(crate) process: FirstProcess,
    pub(crate) namespace: NetworkNamespace,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) resolv_conf: String,
    pub(crate) hosts: String,
    pub(crate) hostname: String,
    /// The network's name, by which `SKEP_URL` is found.
    pub(crate) name: String,
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
    #[error("{0}")]
    Unexpected(&'static str),
}

impl SandboxError {
    /// Whether another function would fail as well.
    pub(crate) fn kind(&self) -> LaunchErrorKind {
        use bollard::errors::Error::DockerResponseServerError as Answer;
        match self {
            Self::Docker(_, Answer { .. }) => LaunchErrorKind::StartFailed,
            _ => LaunchErrorKind::EngineUnavailable,
        }
    }
}

/// Makes the sandbox of a function. What was made is removed again where that fails.
pub(crate) async fn make(
    docker: &Docker,
    function: &Function,
    network: Network,
    owner: &str,
    pause: &Path,
) -> Result<Sandbox, SandboxError> {
    let id = InstanceId::generate();
    let text = id.to_string();
    let name = format!(
        "skep-{}-{}-sandbox-{}",
        function.namespace,
        function.name,
        &text[text.len() - 12..]
    );
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let body = body(function, network, owner, &id, pause);
    let created = within("making the sandbox", docker.create_container(Some(options), body)).await?;
    match finish(docker, &created.id, id, network).await {
        Ok(sandbox) => Ok(sandbox),
        Err(error) => {
            remove(docker, &created.id).await;
            Err(error)
        }
    }
}

async fn finish(
    docker: &Docker,
    container: &str,
    id: InstanceId,
    network: Network,
) -> Result<Sandbox, SandboxError> {
    if network == Network::Sandbox {
        within(
            "starting the sandbox",
            docker.start_container(container, None::<StartContainerOptions>),
        )
        .await?;
    }
    let look = docker.inspect_container(container, None::<InspectContainerOptions>);
    let inspect = within("looking at the sandbox", look).await?;
    let layers = layers(&inspect)?;
    let network = match network {
        Network::Own => None,
        Network::Sandbox => Some(network_of(&inspect, container)?),
    };
    Ok(Sandbox {
        container: container.to_owned(),
        id,
        layers,
        network,
    })
}

/// Removes a sandbox; the engine's sweep finds it where that fails.
pub(crate) async fn remove(docker: &Docker, container: &str) {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    if let Err(error) = within(
        "removing the sandbox",
        docker.remove_container(container, Some(options)),
    )
    .await
    {
        tracing::debug!(container, %error, "a sandbox could not be removed; the sweep finds it");
    }
}

async fn within<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, SandboxError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| SandboxError::Docker(what, error)),
        Err(_) => Err(SandboxError::Silent(what)),
    }
}

fn body(
    function: &Function,
    network: Network,
    owner: &str,
    id: &InstanceId,
    pause: &Path,
) -> ContainerCreateBody {
    let inspect: ContainerInspectResponse =
        serde_json::from_str(&function.template.inspect).unwrap_or_default();
    let template = inspect.host_config.unwrap_or_default();
    let mode = match network {
        Network::Own => "none".to_owned(),
        Network::Sandbox => template.network_mode.unwrap_or_else(|| "default".to_owned()),
    };
    let user_defined = !matches!(mode.as_str(), "none" | "default" | "bridge");
    let endpoints = HashMap::from([(mode.clone(), EndpointSettings::default())]);
    let labels = [
        (label::OWNER, owner.to_owned()),
        (label::NAMESPACE, function.namespace.to_string()),
        (label::INSTANCE_OF, function.name.to_string()),
        (label::INSTANCE, id.to_string()),
        (label::SANDBOX, "true".to_owned()),
    ];
    ContainerCreateBody {
        image: Some(function.template.image_id.clone()),
        entrypoint: Some(vec![PAUSE.to_owned()]),
        cmd: Some(Vec::new()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        host_config: Some(HostConfig {
            network_mode: Some(mode),
            binds: Some(vec![format!("{}:{PAUSE}:ro", pause.display())]),
            dns: template.dns,
            dns_options: template.dns_options,
            dns_search: template.dns_search,
            extra_hosts: template.extra_hosts,
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            ..HostConfig::default()
        }),
        networking_config: user_defined.then_some(NetworkingConfig {
            endpoints_config: Some(endpoints),
        }),
        ..ContainerCreateBody::default()
    }
}

/// The image's layers by the short names that overlay2 keeps for them, so that many fit into a mount's options.
fn layers(inspect: &ContainerInspectResponse) -> Result<(String, Vec<String>), SandboxError> {
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
    let names = lower.trim().split(':').map(str::to_owned).collect();
    Ok((base.display().to_string(), names))
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
    let read = |path: &Option<String>| std::fs::read_to_string(path.as_deref().unwrap_or_default());
    let failed = |error| SandboxError::Machine("reading the sandbox's name resolution", error);
    let networks = inspect
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.clone());
    let (name, endpoint) = networks.into_iter().flatten().next().unwrap_or_default();
    let texts = [endpoint.ip_address, endpoint.global_ipv6_address];
    let addresses = texts
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect();
    Ok(SandboxNetwork {
        process,
        namespace,
        addresses,
        resolv_conf: read(&inspect.resolv_conf_path).map_err(failed)?,
        hosts: read(&inspect.hosts_path).map_err(failed)?,
        hostname: inspect
            .config
            .as_ref()
            .and_then(|config| config.hostname.clone())
            .unwrap_or_default(),
        name,
    })
}
