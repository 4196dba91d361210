//! The calls that Skep makes of the engine, each bounded in time and counted.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerInspectResponse, ContainerSummary, EndpointSettings, NetworkConnectRequest,
    NetworkDisconnectRequest, NetworkInspect, SystemInfo,
};
use bollard::query_parameters::{
    InspectContainerOptions, InspectNetworkOptions, ListContainersOptions, RemoveContainerOptions,
    StartContainerOptions, StopContainerOptions,
};
use serde_json::Value;
use skep_model::Copied;
use tokio::time::Instant;

use crate::client::{ConnectError, Endpoint, TIMEOUT_SECONDS, connect_client};
use crate::error::CallError;
use crate::metrics::Metrics;
use crate::raw::{Attached, RawApi};

/// Removing a container waits for the kernel to end its processes, starting one for its mounts and networks.
const SLOW_CALL: Duration = Duration::from_secs(60);

/// The engine, as the rest of this crate asks it.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) docker: Docker,
    raw: RawApi,
    pub(crate) endpoint: Endpoint,
    metrics: Metrics,
    /// Whether one create call may name several networks (API 1.44).
    pub(crate) many_networks: bool,
}

impl Api {
    pub(crate) async fn connect(docker_host: Option<&str>, metrics: Metrics) -> Result<Self, ConnectError> {
        let endpoint = Endpoint::read(docker_host)?;
        let docker = connect_client(docker_host).await?;
        let version = docker.client_version();
        let many_networks = (version.major_version, version.minor_version) >= (1, 44);
        let raw = RawApi::new(endpoint.clone(), &version.to_string());
        // Each call has its own limit here; the client's would cut the slow ones.
        let docker = docker.with_timeout(SLOW_CALL);
        Ok(Self {
            docker,
            raw,
            endpoint,
            metrics,
            many_networks,
        })
    }

    /// Runs one call with the usual limit.
    pub(crate) async fn call<T, E: Into<CallError>>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError> {
        self.call_within(name, Duration::from_secs(TIMEOUT_SECONDS), call)
            .await
    }

    async fn call_within<T, E: Into<CallError>>(
        &self,
        name: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError> {
        let begin = Instant::now();
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(CallError::TimedOut),
        };
        self.metrics
            .count(name, begin.elapsed().as_secs_f64(), answer.is_err());
        answer
    }

    pub(crate) async fn info(&self) -> Result<SystemInfo, CallError> {
        self.call("info", self.docker.info()).await
    }

    pub(crate) async fn create(&self, name: &str, body: &Value) -> Result<String, CallError> {
        self.call_within("create", SLOW_CALL, self.raw.create(name, body))
            .await
    }

    /// Puts in what people put into the template with `docker cp`.
    pub(crate) async fn put(&self, id: &str, copied: &Copied) -> Result<(), CallError> {
        let putting = skep_copied::put(&self.docker, id, copied);
        self.call_within("put-archive", SLOW_CALL, putting).await
    }

    pub(crate) async fn attach(&self, id: &str, stdin: bool) -> Result<Attached, CallError> {
        self.call("attach", self.raw.attach(id, stdin)).await
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), CallError> {
        self.call_within(
            "start",
            SLOW_CALL,
            self.docker.start_container(id, None::<StartContainerOptions>),
        )
        .await
    }

    pub(crate) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, CallError> {
        self.call(
            "inspect",
            self.docker.inspect_container(id, None::<InspectContainerOptions>),
        )
        .await
    }

    /// All containers, running or not, that carry every one of these labels (`key` or `key=value`).
    pub(crate) async fn list(
        &self,
        labels: Vec<String>,
        running: bool,
    ) -> Result<Vec<ContainerSummary>, CallError> {
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptions {
            all: !running,
            filters: Some(filters),
            ..Default::default()
        };
        self.call("list", self.docker.list_containers(Some(options)))
            .await
    }

    pub(crate) async fn pause(&self, id: &str) -> Result<(), CallError> {
        self.call("pause", self.docker.pause_container(id)).await
    }

    pub(crate) async fn unpause(&self, id: &str) -> Result<(), CallError> {
        self.call("unpause", self.docker.unpause_container(id)).await
    }

    /// Stops with the container's own signal and grace, which the engine waits for.
    pub(crate) async fn stop(&self, id: &str, grace: Duration) -> Result<(), CallError> {
        let limit = grace + SLOW_CALL;
        let docker = self.docker.clone().with_timeout(limit);
        self.call_within(
            "stop",
            limit,
            docker.stop_container(id, None::<StopContainerOptions>),
        )
        .await
    }

    /// Kills and removes, with the anonymous volumes.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), CallError> {
        let options = RemoveContainerOptions {
            force: true,
            v: true,
            ..Default::default()
        };
        self.call_within(
            "remove",
            SLOW_CALL,
            self.docker.remove_container(id, Some(options)),
        )
        .await
    }

    pub(crate) async fn network(&self, name: &str) -> Result<NetworkInspect, CallError> {
        self.call(
            "network-inspect",
            self.docker.inspect_network(name, None::<InspectNetworkOptions>),
        )
        .await
    }

    /// Attaches a container to a network with the endpoint's settings.
    pub(crate) async fn connect_network(
        &self,
        network: &str,
        container: &str,
        endpoint: Option<EndpointSettings>,
    ) -> Result<(), CallError> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: endpoint,
        };
        self.call_within(
            "network-connect",
            SLOW_CALL,
            self.docker.connect_network(network, request),
        )
        .await
    }

    pub(crate) async fn disconnect_network(&self, network: &str, container: &str) -> Result<(), CallError> {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(false),
        };
        self.call_within(
            "network-disconnect",
            SLOW_CALL,
            self.docker.disconnect_network(network, request),
        )
        .await
    }
}
