//! A node of a Swarm, as gateways ask about it for an operator.

use std::collections::BTreeMap;

use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, Response};
use jiff::Timestamp;
use skep_agent::{Agent, SandboxView};
use skep_control::{InvocationFilter, LogFilter, Node, api, view};
use skep_model::{Invalid, InvocationId, Problem, ProblemCode, TemplateId};
use skep_socket::Sockets;
use skep_store::Store;

use crate::serve::shown::{self, count};
use crate::serve::{records, sockets};

/// Reads from a running agent.
pub(super) struct AgentNode {
    pub(super) agent: Agent,
    pub(super) sockets: Sockets,
    pub(super) store: Store,
}

/// A function as one sandbox has it.
fn function(sandbox: &SandboxView) -> api::Function {
    let snapshot = &sandbox.snapshot;
    let invocations = snapshot
        .instances
        .iter()
        .map(|instance| instance.invocations.len());
    let waiting = snapshot
        .functions
        .iter()
        .map(|function| function.waiting + function.waiting_background);
    let shown = if sandbox.reasons.is_empty() {
        view::function(&sandbox.function)
    } else {
        view::invalid(&Invalid {
            name: sandbox.function.name.to_string(),
            template: sandbox.function.template.id.clone(),
            template_name: sandbox.function.template.name.clone(),
            reasons: sandbox.reasons.clone(),
        })
    };
    api::Function {
        engine: Some(sandbox.engine.as_str().to_owned()),
        fallback: sandbox.fallback.clone(),
        instances: count(snapshot.instances.len()),
        running: count(invocations.sum()),
        queued: count(waiting.sum()),
        ..shown
    }
}

impl Node for AgentNode {
    fn functions(&self) -> Vec<api::Function> {
        let mut functions: BTreeMap<(String, Option<String>), api::Function> = BTreeMap::new();
        for sandbox in self.agent.sandboxes() {
            let shown = function(&sandbox);
            let entry = functions.entry((shown.name.clone(), shown.revision.clone()));
            entry
                .and_modify(|known| {
                    known.instances += shown.instances;
                    known.running += shown.running;
                    known.queued += shown.queued;
                })
                .or_insert(shown);
        }
        let refused = self.agent.refused().into_iter().map(|(container, reason)| {
            view::invalid(&Invalid {
                name: String::new(),
                template: TemplateId(container.as_str().into()),
                template_name: container,
                reasons: vec![reason],
            })
        });
        functions.into_values().chain(refused).collect()
    }

    fn function(&self, name: &str) -> Option<api::FunctionDetail> {
        let sandboxes = self.agent.sandboxes();
        let newest = sandboxes
            .iter()
            .filter(|sandbox| sandbox.function.name.as_str() == name)
            .max_by_key(|sandbox| (sandbox.reasons.is_empty(), !sandbox.draining))?;
        let usable = newest.reasons.is_empty();
        let template = &newest.function.template;
        Some(api::FunctionDetail {
            name: name.to_owned(),
            function: usable.then(|| function(newest)),
            settings: view::settings(&newest.function.settings),
            networks: template.networks.clone(),
            memory: template.memory,
            image_id: Some(template.image_id.clone()),
            invalid: if usable {
                Vec::new()
            } else {
                vec![function(newest)]
            },
        })
    }

    fn instances(&self) -> Vec<api::Instance> {
        let now = Timestamp::now();
        let mut instances = Vec::new();
        for sandbox in self.agent.sandboxes() {
            let engine = sandbox.engine.as_str();
            let there = sandbox.snapshot.instances.iter();
            instances.extend(there.map(|instance| shown::instance(instance, engine, now)));
        }
        instances.sort_by_key(|instance| instance.started);
        instances
    }

    fn sandboxes(&self) -> Vec<api::Sandbox> {
        let shown = self.agent.sandboxes().into_iter().map(|sandbox| api::Sandbox {
            function: sandbox.function.name.to_string(),
            instances: sandbox
                .snapshot
                .instances
                .iter()
                .map(|instance| instance.id.to_string())
                .collect(),
            created: sandbox.created,
            node: None,
            id: sandbox.container,
        });
        let mut sandboxes: Vec<api::Sandbox> = shown.collect();
        sandboxes.sort_by_key(|sandbox| sandbox.created);
        sandboxes
    }

    fn children(&self) -> Vec<api::Child> {
        self.sockets.children().iter().map(sockets::shown).collect()
    }

    /// What runs elsewhere, or ran here once, is for the gateway to know.
    fn knows_every_function(&self) -> bool {
        false
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

    fn invoke(&self, _function: &str, _request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let problem = Problem::new(ProblemCode::NotFound).detail("Functions are invoked through a gateway.");
        Box::pin(std::future::ready(
            skep_invoke::problem_response(&problem, None).map(Body::new),
        ))
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<api::Check>> {
        let engine = shown::check("engine", self.agent.is_connected(), "the engine does not answer");
        Box::pin(std::future::ready(vec![engine, records::check(&self.store)]))
    }
}
