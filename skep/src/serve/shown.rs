//! What every control listener shows in one way: what is in force, instances, checks; and how it invokes.

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use skep_catalogue::Catalogue;
use skep_control::{api, view};
use skep_dispatch::{InstanceView, State};
use skep_gateway::Gateway;
use skep_invoke::BodyError;
use skep_model::Function;

/// Every function in force and every invalid template, by name; `show` says of the former what goes on in it.
pub(super) fn functions(
    catalogue: &Catalogue,
    show: impl Fn(&Function) -> api::Function,
) -> Vec<api::Function> {
    let valid = catalogue.functions().map(|function| show(function));
    let mut functions: Vec<api::Function> = valid
        .chain(catalogue.invalid().iter().map(view::invalid))
        .collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    functions
}

/// Everything about the templates that carry one name; `None` where none does.
pub(super) fn detail(
    catalogue: &Catalogue,
    name: &str,
    show: impl Fn(&Function) -> api::Function,
) -> Option<api::FunctionDetail> {
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
        function: function.map(|function| show(function)),
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

/// An instance, and the engine that made it.
pub(super) fn instance(instance: &InstanceView, engine: &str, now: Timestamp) -> api::Instance {
    let age = SignedDuration::try_from(instance.age).unwrap_or_default();
    api::Instance {
        id: instance.id.to_string(),
        function: instance.function.to_string(),
        revision: instance.revision.to_string(),
        engine: engine.to_owned(),
        locator: instance.locator.clone(),
        state: state(instance.state),
        started: now.saturating_sub(age).unwrap_or(now),
        invocations: instance.invocations.iter().map(ToString::to_string).collect(),
        served: instance.served,
        node: None,
    }
}

/// Something that is as it should be, or what is wrong.
pub(super) fn check(name: &str, ok: bool, wrong: &str) -> api::Check {
    api::Check {
        name: name.to_owned(),
        ok,
        detail: (!ok).then(|| wrong.to_owned()),
    }
}

/// The answer of a function that an operator invokes.
pub(super) fn invoked<'a>(
    gateway: &'a Gateway,
    function: &str,
    request: Request<Body>,
) -> BoxFuture<'a, Response<Body>> {
    let function = function.to_owned();
    let request = request.map(|body| {
        body.map_err(|error| BodyError::Broken(error.to_string()))
            .boxed_unsync()
    });
    async move { gateway.invoke(&function, request).await.map(Body::new) }.boxed()
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

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
