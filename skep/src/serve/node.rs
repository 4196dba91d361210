//! This process as its control listener sees it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, Response};
use jiff::Timestamp;
use skep_catalogue::Catalogue;
use skep_control::{InvocationFilter, LogFilter, Node, api, view};
use skep_discovery::Connection;
use skep_dispatch::{Dispatcher, InstanceView};
use skep_engine::Engine;
use skep_gateway::Gateway;
use skep_lean::LeanEngine;
use skep_model::{Function, InvocationId, Problem};
use skep_socket::Sockets;
use skep_store::Store;
use tokio::sync::watch;

use super::shown::{self, count};
use super::{records, sockets};

/// Reads from the parts of a running Skep.
pub(super) struct LocalNode {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) lean: LeanEngine,
    pub(super) catalogue: watch::Receiver<Arc<Catalogue>>,
    pub(super) connection: watch::Receiver<Connection>,
    pub(super) dispatcher: Dispatcher,
    pub(super) store: Store,
    pub(super) gateway: Gateway,
    pub(super) sockets: Sockets,
}

/// What goes on in one function.
#[derive(Default)]
struct Course {
    instances: u32,
    running: u32,
    queued: u32,
}

impl LocalNode {
    fn courses(&self) -> HashMap<String, Course> {
        let snapshot = self.dispatcher.snapshot();
        let mut courses: HashMap<String, Course> = HashMap::new();
        for instance in &snapshot.instances {
            let course = courses.entry(instance.function.to_string()).or_default();
            course.instances += 1;
            course.running += count(instance.invocations.len());
        }
        for function in &snapshot.functions {
            let waiting = function.waiting + function.waiting_background;
            courses.entry(function.name.to_string()).or_default().queued = count(waiting);
        }
        courses
    }

    /// Which engine made an instance: the one that runs its function.
    fn engine_of(&self, instance: &InstanceView) -> &'static str {
        let catalogue = self.catalogue.borrow();
        let function = catalogue.function(instance.function.as_str());
        let kind = function.map_or(self.engine.kind(), |function| self.engine.kind_for(function));
        kind.as_str()
    }

    /// A function in force, with the engine that runs it.
    fn shown(&self, function: &Function) -> api::Function {
        api::Function {
            engine: Some(self.engine.kind_for(function).as_str().to_owned()),
            fallback: self.engine.fallback(function),
            ..view::function(function)
        }
    }
}

impl Node for LocalNode {
    fn functions(&self) -> Vec<api::Function> {
        let courses = self.courses();
        shown::functions(&self.catalogue.borrow(), |function| {
            counted(self.shown(function), &courses)
        })
    }

    fn function(&self, name: &str) -> Option<api::FunctionDetail> {
        let catalogue = self.catalogue.borrow().clone();
        shown::detail(&catalogue, name, |function| {
            counted(self.shown(function), &self.courses())
        })
    }

    fn instances(&self) -> Vec<api::Instance> {
        let (now, snapshot) = (Timestamp::now(), self.dispatcher.snapshot());
        let shown = snapshot
            .instances
            .iter()
            .map(|instance| shown::instance(instance, self.engine_of(instance), now));
        shown.collect()
    }

    fn sandboxes(&self) -> Vec<api::Sandbox> {
        let mut sandboxes = self.lean.sandboxes();
        sandboxes.extend(self.lean.children_sandboxes());
        sandboxes.sort_by_key(|sandbox| sandbox.created);
        let shown = sandboxes.into_iter().map(|sandbox| api::Sandbox {
            id: sandbox.container,
            function: sandbox.function.to_string(),
            instances: sandbox.instances.iter().map(ToString::to_string).collect(),
            created: sandbox.created,
            node: None,
        });
        shown.collect()
    }

    fn children(&self) -> Vec<api::Child> {
        self.sockets.children().iter().map(sockets::shown).collect()
    }

    fn invocations(&self, filter: InvocationFilter) -> BoxFuture<'_, Result<Vec<api::Invocation>, Problem>> {
        Box::pin(records::page(&self.store, filter))
    }

    fn invocation(&self, id: InvocationId) -> BoxFuture<'_, Result<Option<api::Invocation>, Problem>> {
        Box::pin(records::one(&self.store, id))
    }

    fn logs(
        &self,
        filter: LogFilter,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<api::LogLine, Problem>>, Problem>> {
        Box::pin(std::future::ready(Ok(records::logs(&self.store, filter))))
    }

    fn invoke(&self, function: &str, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        shown::invoked(&self.gateway, function, request)
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<api::Check>> {
        Box::pin(async move {
            let connection = self.connection.borrow().clone();
            let draining = self.dispatcher.snapshot().draining;
            vec![
                shown::check("engine", connection.connected, "the engine does not answer"),
                shown::check(
                    "functions",
                    connection.listed,
                    "the functions were not listed yet",
                ),
                records::check(&self.store),
                shown::check("node", !draining, "this Skep is shutting down"),
            ]
        })
    }
}

fn counted(mut function: api::Function, courses: &HashMap<String, Course>) -> api::Function {
    if let Some(course) = courses.get(&function.name) {
        function.instances = course.instances;
        function.running = course.running;
        function.queued = course.queued;
    }
    function
}
