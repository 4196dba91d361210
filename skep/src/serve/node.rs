//! This process as its control listener sees it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use skep_catalogue::Catalogue;
use skep_control::{InvocationFilter, LogFilter, Node, api, view};
use skep_discovery::Connection;
use skep_dispatch::{Dispatcher, InstanceView, State};
use skep_engine::Engine;
use skep_gateway::Gateway;
use skep_invoke::BodyError;
use skep_lean::LeanEngine;
use skep_model::{Function, InvocationId, Problem};
use skep_socket::Sockets;
use skep_store::Store;
use tokio::sync::watch;

use super::{records, shown, sockets};

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

    fn instance(&self, instance: &InstanceView, now: Timestamp) -> api::Instance {
        let age = SignedDuration::try_from(instance.age).unwrap_or_default();
        api::Instance {
            id: instance.id.to_string(),
            function: instance.function.to_string(),
            revision: instance.revision.to_string(),
            engine: self.engine_of(instance).to_owned(),
            locator: instance.locator.clone(),
            state: state(instance.state),
            started: now.saturating_sub(age).unwrap_or(now),
            invocations: instance.invocations.iter().map(ToString::to_string).collect(),
            served: instance.served,
            node: None,
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
        let now = Timestamp::now();
        self.dispatcher
            .snapshot()
            .instances
            .iter()
            .map(|instance| self.instance(instance, now))
            .collect()
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
        let function = function.to_owned();
        Box::pin(async move {
            let request = request.map(|body| {
                body.map_err(|error| BodyError::Broken(error.to_string()))
                    .boxed_unsync()
            });
            self.gateway.invoke(&function, request).await.map(Body::new)
        })
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<api::Check>> {
        Box::pin(async move {
            let connection = self.connection.borrow().clone();
            let detail = |ok: bool, text: &str| if ok { None } else { Some(text.to_owned()) };
            let draining = self.dispatcher.snapshot().draining;
            vec![
                api::Check {
                    name: "engine".to_owned(),
                    ok: connection.connected,
                    detail: detail(connection.connected, "the engine does not answer"),
                },
                api::Check {
                    name: "functions".to_owned(),
                    ok: connection.listed,
                    detail: detail(connection.listed, "the functions were not listed yet"),
                },
                records::check(&self.store),
                api::Check {
                    name: "node".to_owned(),
                    ok: !draining,
                    detail: detail(!draining, "this Skep is shutting down"),
                },
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

pub(super) fn state(state: State) -> api::InstanceState {
    match state {
        State::Starting => api::InstanceState::Starting,
        State::Spare => api::InstanceState::Spare,
        State::Busy => api::InstanceState::Busy,
        State::Idle => api::InstanceState::Idle,
        State::Frozen => api::InstanceState::Frozen,
        State::Ending => api::InstanceState::Ending,
    }
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
