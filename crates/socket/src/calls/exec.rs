//! Processes that run in a child beside its own.

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use skep_grant::{ExecStart, Json, Refusal};

use super::{Context, whole};
use crate::answer::{Answer, empty, json};

/// Finds out in whose child a process is; another's does not exist here.
async fn checked(context: &Context, id: &str) -> Result<Value, Refusal> {
    let none = || Refusal::not_found(format!("No such exec instance: {id}"));
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(none());
    }
    let value = match crate::lean::inspected(context, id) {
        Some(value) => value,
        None => {
            let asked = context.ask(Method::GET, format!("/exec/{id}/json")).await;
            asked.map_err(|_| none())?
        }
    };
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

/// `GET /exec/ID/json`.
pub(super) async fn inspect(context: Context, id: &str) -> Result<Answer, Refusal> {
    let value = checked(&context, id).await?;
    Ok(json(StatusCode::OK, &value))
}

/// `POST /exec/ID/start`.
pub(super) async fn start(
    context: Context,
    id: &str,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
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
    checked(&context, id).await?;
    if let Some(resized) = crate::lean::resized(&context, id) {
        return resized;
    }
    let path = format!("/exec/{id}/resize{}", context.query.written());
    context
        .forward(context.outgoing(Method::POST, path, empty()))
        .await
}
