//! `Prefer: respond-async`: the request is kept, and answered with the address of its invocation.

use std::net::IpAddr;

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, LOCATION, TRAILER,
};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use skep_invoke::{Body, INVOCATION, Invocation, full, remove_hop_by_hop};
use skep_model::{InvocationId, Problem, ProblemCode, Record, Status};
use skep_store::{Key, NewInvocation, Request, StoreError};

use crate::gateway::{Door, Gateway};
use crate::prefer::{PREFER, PREFERENCE_APPLIED};

/// Keeps an invocation durably and answers 202. Nothing of it runs before it is on the disk.
pub(crate) async fn accept(
    gateway: &Gateway,
    invocation: Invocation,
    door: Door,
) -> Result<Response<Body>, Problem> {
    let settings = &invocation.function.settings;
    let name = invocation.function.name.to_string();
    if gateway.store().queued(&name) >= settings.backlog {
        // Refused before the body is read; the store counts again when it takes it.
        let full = StoreError::BacklogFull {
            function: name,
            limit: settings.backlog,
        };
        return Err(full.problem());
    }
    let (parts, body) = invocation.request.into_parts();
    let body = keep(gateway, body).await?;
    let mut headers = parts.headers;
    tidy(&mut headers, body.length());
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let (id, method) = (invocation.id, parts.method.to_string());
    let queued = Record::queued(
        id,
        name,
        invocation.trigger,
        method,
        path.clone(),
        invocation.received,
    );
    let record = Record {
        parent: invocation.parent,
        ..queued
    };
    let context = Context {
        client: invocation.client,
        door,
    }
    .to_text();
    let request = Request {
        method: parts.method,
        path,
        headers,
        body,
        context,
    };
    let key = Key::generate();
    let new = NewInvocation {
        record,
        request,
        key: key.hash(),
        backlog: settings.backlog,
    };
    gateway
        .store()
        .accept(new)
        .await
        .map_err(|error| error.problem())?;
    Ok(accepted(invocation.id, &key))
}

async fn keep(gateway: &Gateway, mut body: Body) -> Result<skep_store::Body, Problem> {
    let mut writer = gateway.store().request_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.problem())?;
        if let Ok(data) = frame.into_data() {
            writer.write(&data).await.map_err(|error| error.problem())?;
        }
    }
    writer.finish().await.map_err(|error| error.problem())
}

/// What concerned only the way to here, or is known better now, is not kept.
fn tidy(headers: &mut HeaderMap, length: u64) {
    remove_hop_by_hop(headers);
    for name in [&PREFER, &EXPECT, &TRAILER] {
        headers.remove(name);
    }
    if length > 0 || headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

fn accepted(id: InvocationId, key: &Key) -> Response<Body> {
    let address = address(id, key);
    let body = json!({
        "id": id.to_string(),
        "status": Status::Queued.as_str(),
        "links": { "self": address, "result": format!("{address}/result") },
    });
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    for (name, text) in [(LOCATION, address), (INVOCATION, id.to_string())] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    response
}

/// Where an asynchronous invocation is looked at.
pub(crate) fn address(id: InvocationId, key: &Key) -> String {
    format!("/_skep/invocations/{id}/{key}")
}

/// What the gateway wants to know again when a stored request is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Context {
    pub(crate) client: IpAddr,
    pub(crate) door: Door,
}

impl Context {
    fn to_text(self) -> String {
        json!({ "client": self.client, "listener": self.door.as_str() }).to_string()
    }

    /// Reads it back; what can't be read was written by another version and counts as nothing known.
    pub(crate) fn from_text(text: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let client = value["client"].as_str().and_then(|text| text.parse().ok());
        let door = if value["listener"] == Door::Call.as_str() {
            Door::Call
        } else {
            Door::Public
        };
        Self {
            client: client.unwrap_or(IpAddr::from([127, 0, 0, 1])),
            door,
        }
    }
}

/// A problem that stands for a run's end when somebody asks for its result.
pub(crate) fn problem_of(record: &Record) -> Option<Problem> {
    let ending = record.ending.as_ref()?;
    let code = match ending.kind {
        skep_model::EndingKind::ExitCode => ProblemCode::ExitCode,
        _ => ending.problem?,
    };
    let problem = Problem::new(code);
    Some(match (code, ending.exit_code) {
        (ProblemCode::ExitCode, Some(exit)) => {
            problem.detail(format!("The function exited with code {exit}."))
        }
        _ => problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_read_back() {
        for door in [Door::Public, Door::Call] {
            let context = Context {
                client: IpAddr::from([192, 0, 2, 7]),
                door,
            };
            assert_eq!(Context::from_text(&context.to_text()), context);
        }
    }
}
