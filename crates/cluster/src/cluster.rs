//! The cluster as a gateway has it.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use futures::future::join_all;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::Limited;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use skep_catalogue::Catalogue;
use skep_invoke::{Body, Invocation, Metrics};
use skep_model::{FunctionName, Journal, Namespace};
use skep_tls::{Dialer, Line};
use skep_wire::{AGENT_NAME, NodePicture};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agents::Agents;
use crate::shared::Shared;
use crate::{decider, run, waiting};

/// How long an agent may take to tell what an operator asks of all of them.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// The most that one may tell.
const LONGEST_ANSWER: usize = 64 << 20;

/// What a gateway needs to know of its cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// The namespace whose functions it serves.
    pub namespace: Namespace,
    /// Where agents are found: host names or addresses, each with its port.
    pub agents: Vec<String>,
    /// What this gateway is called in the lease: no other has the name.
    pub gateway: String,
    /// Where others find it.
    pub address: String,
    /// The config that holds `pause`, where somebody put one onto the Swarm; else the gateway does.
    pub pause: Option<String>,
    /// Accounts at private registries, by the registry's host.
    pub accounts: HashMap<String, DockerCredentials>,
}

/// A node, as its agent told of it last.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// What it has.
    pub picture: NodePicture,
    line: Line,
}

/// Runs invocations on the nodes of a Swarm. Clones share everything.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    config: Config,
}

impl Cluster {
    /// A cluster of which nothing is known yet: [`Cluster::find_agents`] and [`Cluster::decide`] are to be run.
    pub fn new(config: Config, dialer: Dialer, journal: Arc<dyn Journal>, metrics: Metrics) -> Self {
        let shared = Shared::new(
            config.namespace.clone(),
            config.gateway.clone(),
            dialer,
            journal,
            metrics,
        );
        Self {
            shared: Arc::new(shared),
            config,
        }
    }

    /// Finds agents, hears what they have, and tells them who waits here, until `stop`.
    pub async fn find_agents(&self, stop: CancellationToken) {
        tokio::join!(
            skep_tls::follow(Agents(self.shared.clone()), &self.config.agents, stop.clone()),
            waiting::tell(&self.shared, stop),
        );
    }

    /// Sees to it that there are sandboxes, until `stop`: the first of a function at once, and all of them for as long as
    /// this gateway has the lease. Nothing is changed before `listed` returns.
    pub async fn decide(
        &self,
        docker: Docker,
        catalogue: watch::Receiver<Arc<Catalogue>>,
        listed: impl Future<Output = ()> + Send,
        stop: CancellationToken,
    ) {
        decider::run(self.shared.clone(), &self.config, docker, catalogue, listed, stop).await;
    }

    /// Adds what is counted of nodes and of scaling.
    pub fn register(&self, registry: &mut Registry) {
        crate::metrics::register(&self.shared, registry);
    }

    /// What is counted of invocations.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Runs one invocation, as an invoker does.
    pub async fn invoke(&self, invocation: Box<Invocation>) -> http::Response<Body> {
        run::run(self.shared.clone(), invocation).await
    }

    /// Returns when every upgraded connection has ended. Call it once nothing new is begun.
    pub async fn drained(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// The nodes whose agents answer, by name.
    pub fn nodes(&self) -> Vec<NodeView> {
        let lines: HashMap<_, _> = self.shared.all_lines().into_iter().collect();
        let nodes = self.shared.pool().nodes();
        nodes
            .into_iter()
            .filter_map(|(key, picture)| {
                Some(NodeView {
                    picture,
                    line: lines.get(&key)?.clone(),
                })
            })
            .collect()
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Those who wait at this gateway, by function.
    pub fn waiting(&self) -> HashMap<FunctionName, u32> {
        self.shared.pool().waiting()
    }

    /// What a node's agent says at length, for as long as its reader wants.
    ///
    /// # Errors
    /// It gives no such answer.
    pub async fn open(&self, node: &NodeView, path: &str) -> Result<Incoming, String> {
        match timeout(PATIENCE, answer(&node.line, path)).await {
            Ok(answered) => answered,
            Err(_) => Err("it does not answer".to_owned()),
        }
    }

    /// Asks every agent the same; the answers of those that gave one, as JSON, each with its node.
    pub async fn ask_all(&self, path: &str) -> Vec<(NodePicture, serde_json::Value)> {
        let asked = self.nodes().into_iter().map(|node| async move {
            match timeout(PATIENCE, ask(&node.line, path)).await {
                Ok(Ok(answer)) => Some((node.picture, answer)),
                Ok(Err(error)) => {
                    tracing::debug!(
                        node = node.picture.hostname,
                        path,
                        error,
                        "an agent can't be asked"
                    );
                    None
                }
                Err(_) => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

async fn ask(line: &Line, path: &str) -> Result<serde_json::Value, String> {
    let body = answer(line, path).await?;
    let body = Limited::new(body, LONGEST_ANSWER).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

async fn answer(line: &Line, path: &str) -> Result<Incoming, String> {
    let request = Request::get(format!("https://{AGENT_NAME}{path}"))
        .body(skep_tls::body(skep_invoke::empty()))
        .map_err(|error| error.to_string())?;
    let response = line.send(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    Ok(response.into_body())
}
