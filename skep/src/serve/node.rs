//! This process as its control listener sees it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
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
use skep_store::{RecordFilter, Store, StoredLine};
use tokio::sync::watch;

use super::sockets;

/// With less room than this no invocation is accepted for long.
const LEAST_ROOM: u64 = 16 << 20;

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
        }
    }

    fn check_store(&self) -> api::Check {
        let directory = self.store.directory();
        let detail = match rustix::fs::statvfs(&directory) {
            Ok(status) if status.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => {
                Some("the data directory can only be read".to_owned())
            }
            Ok(status) if status.f_bavail.saturating_mul(status.f_frsize) < LEAST_ROOM => {
                Some("the data directory's disk is full".to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(format!("the data directory can't be used: {error}")),
        };
        api::Check {
            name: "store".to_owned(),
            ok: detail.is_none(),
            detail,
        }
    }
}

impl Node for LocalNode {
    fn functions(&self) -> Vec<api::Function> {
        let courses = self.courses();
        let catalogue = self.catalogue.borrow();
        let valid = catalogue
            .functions()
            .map(|function| counted(self.shown(function), &courses));
        let mut functions: Vec<api::Function> = valid
            .chain(catalogue.invalid().iter().map(view::invalid))
            .collect();
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        functions
    }

    fn function(&self, name: &str) -> Option<api::FunctionDetail> {
        let catalogue = self.catalogue.borrow().clone();
        let function = catalogue.function(name);
        let invalid: Vec<api::Function> = catalogue
            .invalid()
            .iter()
            .filter(|invalid| invalid.name == name)
            .map(view::invalid)
            .collect();
        if function.is_none() && invalid.is_empty() {
            return None;
        }
        let template = function.map(|function| &function.template);
        Some(api::FunctionDetail {
            name: name.to_owned(),
            function: function.map(|function| counted(self.shown(function), &self.courses())),
            settings: function
                .map(|function| view::settings(&function.settings))
                .unwrap_or_default(),
            networks: template
                .map(|template| template.networks.clone())
                .unwrap_or_default(),
            memory: template.and_then(|template| template.memory),
            image_id: template.map(|template| template.image_id.clone()),
            invalid,
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
        let sandboxes = self.lean.sandboxes().into_iter();
        let shown = sandboxes.map(|sandbox| api::Sandbox {
            id: sandbox.container,
            function: sandbox.function.to_string(),
            instances: sandbox.instances.iter().map(ToString::to_string).collect(),
            created: sandbox.created,
        });
        shown.collect()
    }

    fn children(&self) -> Vec<api::Child> {
        self.sockets.children().iter().map(sockets::shown).collect()
    }

    fn invocations(&self, filter: InvocationFilter) -> BoxFuture<'_, Result<Vec<api::Invocation>, Problem>> {
        Box::pin(async move {
            let filter = RecordFilter {
                function: filter.function,
                status: filter.status,
                since: filter.since,
                before: filter.before,
                limit: filter.limit as usize,
            };
            let page = self
                .store
                .records(filter)
                .await
                .map_err(|error| error.problem())?;
            Ok(page.records.iter().map(view::invocation).collect())
        })
    }

    fn invocation(&self, id: InvocationId) -> BoxFuture<'_, Result<Option<api::Invocation>, Problem>> {
        Box::pin(async move {
            let record = self.store.record_of(id).await.map_err(|error| error.problem())?;
            Ok(record.as_ref().map(view::invocation))
        })
    }

    fn logs(
        &self,
        filter: LogFilter,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<api::LogLine, Problem>>, Problem>> {
        let follow = filter.follow;
        let filter = skep_store::LogFilter {
            invocation: filter.invocation,
            function: filter.function,
            since: filter.since,
            tail: filter.tail.map(|tail| tail as usize),
            ..Default::default()
        };
        Box::pin(async move {
            Ok(if follow {
                followed(&self.store, filter)
            } else {
                kept(&self.store, filter)
            })
        })
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
                self.check_store(),
                api::Check {
                    name: "node".to_owned(),
                    ok: !draining,
                    detail: detail(!draining, "this Skep is shutting down"),
                },
            ]
        })
    }
}

/// What was written up to now, page by page.
fn kept(store: &Store, filter: skep_store::LogFilter) -> BoxStream<'static, Result<api::LogLine, Problem>> {
    let pages = stream::try_unfold(Some((store.clone(), filter)), |state| async move {
        let Some((store, mut filter)) = state else {
            return Ok(None);
        };
        let lines = store
            .logs(filter.clone())
            .await
            .map_err(|error| error.problem())?;
        let Some(last) = lines.last().map(|line| line.sequence) else {
            return Ok(None);
        };
        // The last so many lines come at once; there is nothing behind them.
        let next = if filter.tail.is_some() {
            None
        } else {
            filter.after = Some(last);
            Some((store, filter))
        };
        Ok(Some((lines, next)))
    });
    flattened(pages)
}

/// What was written up to now, and what comes.
fn followed(
    store: &Store,
    filter: skep_store::LogFilter,
) -> BoxStream<'static, Result<api::LogLine, Problem>> {
    let pages = stream::try_unfold(store.follow(filter), |mut follower| async move {
        let lines = follower.next().await.map_err(|error| error.problem())?;
        Ok(lines.map(|lines| (lines, follower)))
    });
    flattened(pages)
}

fn flattened(
    pages: impl stream::Stream<Item = Result<Vec<StoredLine>, Problem>> + Send + 'static,
) -> BoxStream<'static, Result<api::LogLine, Problem>> {
    pages
        .flat_map(|page| {
            let lines: Vec<Result<api::LogLine, Problem>> = match page {
                Ok(lines) => lines.iter().map(|line| Ok(log_line(line))).collect(),
                Err(problem) => vec![Err(problem)],
            };
            stream::iter(lines)
        })
        .boxed()
}

fn log_line(stored: &StoredLine) -> api::LogLine {
    api::LogLine {
        time: stored.line.time,
        function: stored.function.clone(),
        instance: stored.instance.to_string(),
        invocation: stored.invocation.map(|id| id.to_string()),
        stream: stored.line.stream,
        text: String::from_utf8_lossy(&stored.line.text).into_owned(),
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

fn state(state: State) -> api::InstanceState {
    match state {
        State::Starting => api::InstanceState::Starting,
        State::Spare => api::InstanceState::Spare,
        State::Busy => api::InstanceState::Busy,
        State::Idle => api::InstanceState::Idle,
        State::Frozen => api::InstanceState::Frozen,
        State::Ending => api::InstanceState::Ending,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
