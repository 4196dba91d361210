//! The whole cluster as a gateway's control listener shows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, Response};
use serde::de::DeserializeOwned;
use skep_catalogue::Catalogue;
use skep_cluster::Cluster;
use skep_control::{InvocationFilter, LogFilter, Node, api, view};
use skep_discovery::Connection;
use skep_gateway::Gateway;
use skep_model::{InvocationId, Problem};
use skep_store::Store;
use tokio::sync::watch;

use super::logs;
use crate::commands::encoded;
use crate::serve::{records, shown};

/// How often it is looked whether an invocation has ended.
const LOOK: Duration = Duration::from_millis(300);

/// Reads from the parts of a running gateway, and from every agent.
#[derive(Clone)]
pub(super) struct ClusterNode {
    pub(super) cluster: Cluster,
    pub(super) catalogue: watch::Receiver<Arc<Catalogue>>,
    pub(super) connection: watch::Receiver<Connection>,
    pub(super) store: Store,
    pub(super) gateway: Gateway,
}

/// What goes on in one function, over all nodes.
#[derive(Default)]
struct Course {
    running: u32,
    idle: u32,
    queued: u32,
    engine: Option<String>,
    fallback: Vec<String>,
    /// Whether a node that has a sandbox for it can run it, and why others can't.
    usable: bool,
    reasons: Vec<String>,
}

impl ClusterNode {
    fn courses(&self) -> HashMap<String, Course> {
        let mut courses: HashMap<String, Course> = HashMap::new();
        for node in self.cluster.nodes() {
            for sandbox in &node.picture.sandboxes {
                let course = courses.entry(sandbox.function.clone()).or_default();
                course.running += sandbox.running;
                course.idle += sandbox.idle;
                course.engine = Some(node.picture.engine.clone());
                course.usable |= sandbox.reasons.is_empty();
                let named = |reason: &String| format!("{}: {reason}", node.picture.hostname);
                for (said, of) in [
                    (&node.picture.fallback, &mut course.fallback),
                    (&sandbox.reasons, &mut course.reasons),
                ] {
                    for reason in said.iter().map(named) {
                        if !of.contains(&reason) {
                            of.push(reason);
                        }
                    }
                }
            }
        }
        for (name, queued) in self.cluster.waiting() {
            courses.entry(name.to_string()).or_default().queued = queued;
        }
        courses
    }

    /// Returns when an invocation has ended, or is not known any more.
    async fn until_ended(&self, id: InvocationId) {
        while let Ok(Some(invocation)) = self.invocation(id).await {
            if invocation.status.is_end() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The answers of all agents to one question, each with its node's name.
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Vec<(String, T)> {
        let answers = self.cluster.ask_all(path).await;
        let read = answers.into_iter().filter_map(|(picture, answer)| {
            let read = serde_json::from_value(answer);
            let read = read.map_err(|error| {
                tracing::warn!(node = picture.hostname, path, %error, "an agent's answer can't be read");
            });
            Some((picture.hostname, read.ok()?))
        });
        read.collect()
    }

    /// What all agents list under a path, each with its node.
    async fn gathered<L: DeserializeOwned, T>(
        &self,
        path: &str,
        things: impl Fn(L) -> Vec<T>,
        node_of: impl Fn(&mut T) -> &mut Option<String>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for (node, list) in self.ask(path).await {
            for mut thing in things(list) {
                *node_of(&mut thing) = Some(node.clone());
                all.push(thing);
            }
        }
        all
    }
}

fn counted(mut function: api::Function, courses: &HashMap<String, Course>) -> api::Function {
    if let Some(course) = courses.get(&function.name) {
        function.instances = course.running + course.idle;
        function.running = course.running;
        function.queued = course.queued;
        function.engine = course.engine.clone();
        function.fallback = course.fallback.clone();
        if !course.usable && !course.reasons.is_empty() {
            function.state = api::FunctionState::Invalid;
            function.reasons = course.reasons.clone();
        }
    }
    function
}

impl Node for ClusterNode {
    fn functions(&self) -> Vec<api::Function> {
        let courses = self.courses();
        shown::functions(&self.catalogue.borrow(), |function| {
            counted(view::function(function), &courses)
        })
    }

    fn function(&self, name: &str) -> Option<api::FunctionDetail> {
        let catalogue = self.catalogue.borrow().clone();
        shown::detail(&catalogue, name, |function| {
            counted(view::function(function), &self.courses())
        })
    }

    /// They are the nodes' to tell: see `instances_of_all`.
    fn instances(&self) -> Vec<api::Instance> {
        Vec::new()
    }

    fn sandboxes(&self) -> Vec<api::Sandbox> {
        Vec::new()
    }

    fn instances_of_all(&self) -> BoxFuture<'_, Vec<api::Instance>> {
        Box::pin(async move {
            let listed = |list: api::Instances| list.instances;
            let mut instances = self
                .gathered("/v1/instances", listed, |instance| &mut instance.node)
                .await;
            instances.sort_by_key(|instance| instance.started);
            instances
        })
    }

    fn sandboxes_of_all(&self) -> BoxFuture<'_, Vec<api::Sandbox>> {
        Box::pin(async move {
            let listed = |list: api::Sandboxes| list.sandboxes;
            let mut sandboxes = self
                .gathered("/v1/sandboxes", listed, |sandbox| &mut sandbox.node)
                .await;
            sandboxes.sort_by_key(|sandbox| sandbox.created);
            sandboxes
        })
    }

    fn children_of_all(&self) -> BoxFuture<'_, Vec<api::Child>> {
        Box::pin(async move {
            let listed = |list: api::Children| list.children;
            let mut children = self
                .gathered("/v1/children", listed, |child| &mut child.node)
                .await;
            children.sort_by_key(|child| child.created);
            children
        })
    }

    /// The newest of all nodes and of this gateway, which keeps what no node has.
    fn invocations(&self, filter: InvocationFilter) -> BoxFuture<'_, Result<Vec<api::Invocation>, Problem>> {
        Box::pin(async move {
            let path = format!("/v1/invocations?{}", query(&filter));
            let limit = filter.limit as usize;
            let listed = |list: api::Invocations| list.invocations;
            let (own, elsewhere) = tokio::join!(
                records::page(&self.store, filter),
                self.gathered(&path, listed, |invocation| &mut invocation.node)
            );
            let mut all = own?;
            all.extend(elsewhere);
            // Ids sort by their time; one that was accepted here and ran there is the gateway's.
            all.sort_by(|a, b| b.id.cmp(&a.id));
            all.dedup_by(|later, first| later.id == first.id);
            all.truncate(limit);
            Ok(all)
        })
    }

    fn invocation(&self, id: InvocationId) -> BoxFuture<'_, Result<Option<api::Invocation>, Problem>> {
        Box::pin(async move {
            if let Some(own) = records::one(&self.store, id).await? {
                return Ok(Some(own));
            }
            let path = format!("/v1/invocations/{id}");
            let answers: Vec<(String, api::Invocation)> = self.ask(&path).await;
            let first = answers.into_iter().next();
            Ok(first.map(|(node, invocation)| api::Invocation {
                node: Some(node),
                ..invocation
            }))
        })
    }

    fn logs(
        &self,
        filter: LogFilter,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<api::LogLine, Problem>>, Problem>> {
        Box::pin(async move {
            Ok(match (filter.follow, filter.invocation) {
                (false, _) => logs::kept(&self.cluster, filter).await,
                (true, None) => {
                    logs::followed(self.cluster.clone(), filter, Box::pin(std::future::pending()))
                }
                (true, Some(id)) => {
                    let node = self.clone();
                    let ended = Box::pin(async move { node.until_ended(id).await });
                    logs::followed(self.cluster.clone(), filter, ended)
                }
            })
        })
    }

    fn invoke(&self, function: &str, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        shown::invoked(&self.gateway, function, request)
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<api::Check>> {
        Box::pin(async move {
            let connection = self.connection.borrow().clone();
            let agents = !self.cluster.nodes().is_empty();
            let check = shown::check;
            vec![
                check(
                    "engine",
                    connection.connected,
                    "the Swarm's manager does not answer",
                ),
                check(
                    "functions",
                    connection.listed,
                    "the functions were not listed yet",
                ),
                check("agents", agents, "no node's agent is connected"),
                records::check(&self.store),
            ]
        })
    }
}

/// The filter, as it is asked of agents.
fn query(filter: &InvocationFilter) -> String {
    let mut parts = vec![format!("limit={}", filter.limit.min(1000))];
    let mut put = |name: &str, value: Option<String>| {
        parts.extend(value.map(|value| format!("{name}={}", encoded(&value))));
    };
    put("function", filter.function.clone());
    put("status", filter.status.map(|status| status.as_str().to_owned()));
    put("since", filter.since.map(|time| time.to_string()));
    put("cursor", filter.before.map(|id| id.to_string()));
    parts.join("&")
}
