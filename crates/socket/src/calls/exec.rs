//! Processes that run in a child beside its own.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use skep_grant::{ExecStart, Json, Refusal};

use super::afar::{self, Sent};
use super::{Context, wants_upgrade, whole};
use crate::answer::{Answer, empty, full, json};
use crate::elsewhere::Unreached;

/// Finds out in whose child a process is; another's does not exist here.
async fn checked(context: &Context, id: &str) -> Result<Value, Refusal> {
    let none = || Refusal::not_found(format!("No such exec instance: {id}"));
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(none());
    }
    if let Some(own) = crate::lean::inspected(context, id) {
        return Ok(own);
    }
    let asked = context.ask(Method::GET, format!("/exec/{id}/json")).await;
    let value = asked.map_err(|_| none())?;
    let container = value
        .get("ContainerID")
        .and_then(Value::as_str)
        .unwrap_or_default();
    context
        .shared
        .find(&context.holder, container)
        .map_err(|_| none())?;
    Ok(value)
}

/// The node of a process that is not here.
async fn node_of(context: &Context, id: &str) -> Option<Arc<str>> {
    context.elsewhere()?;
    if let Some(node) = context.shared.met.node(id) {
        return Some(node);
    }
    if checked(context, id).await.is_ok() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let found = context.ask_all(Method::GET, &format!("/exec/{id}/json")).await;
    found.first().map(|(node, _)| Arc::from(node.as_str()))
}

/// `GET /exec/ID/json`.
pub(super) async fn inspect(context: Context, id: &str) -> Result<Answer, Refusal> {
    if let Some(node) = node_of(&context, id).await {
        return there(&context, &node, Sent::get(format!("/exec/{id}/json"))).await;
    }
    let value = checked(&context, id).await?;
    Ok(json(StatusCode::OK, &value))
}

/// `POST /exec/ID/start`.
pub(super) async fn start(
    context: Context,
    id: &str,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if let Some(node) = node_of(&context, id).await {
        let upgrade = hyper::upgrade::on(&mut request);
        let upgrades = wants_upgrade(request.headers());
        let start = ExecStart::parse(Json::parse(&whole(request).await?)?)?;
        let (path, body) = (format!("/exec/{id}/start"), full(start.body().to_string()));
        if upgrades && !start.detach() {
            return afar::hijack(&context, &node, path, body, upgrade).await;
        }
        return there(&context, &node, Sent::new(Method::POST, path, body)).await;
    }
    let exec = checked(&context, id).await?;
    // The body is read first; the connection it came on is what is handed over.
    let upgrade = hyper::upgrade::on(&mut request);
    let headers = request.headers().clone();
    let body = whole(request).await?;
    let start = ExecStart::parse(Json::parse(&body)?)?;
    if crate::lean::inspected(&context, id).is_some() {
        let upgrade = (&headers, upgrade);
        let started = crate::lean::started(&context, id, upgrade, &start).await;
        return started.unwrap_or_else(|| Err(Refusal::not_found(format!("No such exec instance: {id}"))));
    }
    let answer = context
        .hijack(
            headers,
            Some(upgrade),
            format!("/exec/{id}/start"),
            Some(start.body().to_string().into()),
        )
        .await?;
    let child = exec.get("ContainerID").and_then(Value::as_str);
    context
        .shared
        .children()
        .exec_started(child.unwrap_or_default(), id);
    Ok(answer)
}

/// `POST /exec/ID/resize`.
pub(super) async fn resize(context: Context, id: &str) -> Result<Answer, Refusal> {
    if let Some(node) = node_of(&context, id).await {
        let path = format!("/exec/{id}/resize{}", context.query.written());
        return there(&context, &node, Sent::new(Method::POST, path, empty())).await;
    }
    checked(&context, id).await?;
    if let Some(resized) = crate::lean::resized(&context, id) {
        return resized;
    }
    let path = format!("/exec/{id}/resize{}", context.query.written());
    context
        .forward(context.outgoing(Method::POST, path, empty()))
        .await
}

async fn there(context: &Context, node: &str, sent: Sent) -> Result<Answer, Refusal> {
    let response = context.ask_there(node, sent).await;
    Ok(afar::passed(response.map_err(Unreached::refusal)?))
}
