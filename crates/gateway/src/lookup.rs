//! Looking at one's own asynchronous invocation: who has its key may.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use skep_invoke::{Body, INVOCATION, full, problem_response};
use skep_model::{InvocationId, Problem, ProblemCode, Record};
use skep_store::{Key, StoredResponse};

use crate::asynchronous::{address, problem_of};
use crate::gateway::Gateway;
use crate::runner::stored_body;

/// What is asked for, below `/_skep/`.
#[derive(Debug)]
pub(crate) struct Address {
    id: InvocationId,
    key: Key,
    result: bool,
}

impl Address {
    /// Reads `invocations/ID/KEY` or `invocations/ID/KEY/result`.
    pub(crate) fn parse(rest: &str) -> Result<Self, Problem> {
        let parts: Vec<&str> = rest.split('/').collect();
        let (id, key, result) = match parts[..] {
            ["invocations", id, key] => (id, key, false),
            ["invocations", id, key, "result"] => (id, key, true),
            _ => return Err(unknown()),
        };
        let (Ok(id), Ok(key)) = (id.parse(), key.parse()) else {
            return Err(unknown());
        };
        Ok(Self { id, key, result })
    }
}

/// One answer for a wrong id, a wrong key and what was removed: nobody learns which ids exist.
fn unknown() -> Problem {
    Problem::new(ProblemCode::NotFound).detail("No invocation has this address, or it is no longer kept.")
}

/// Answers with the status or the result.
pub(crate) async fn respond(
    gateway: &Gateway,
    method: &Method,
    address: Address,
) -> Result<Response<Body>, Problem> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = problem_response(&Problem::new(ProblemCode::MethodNotAllowed), Some(address.id));
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let store = gateway.store();
    let mut response = if address.result {
        let found = store
            .result(address.id, &address.key)
            .await
            .map_err(|error| error.problem())?;
        let (record, stored) = found.ok_or_else(unknown)?;
        result(&record, stored).await?
    } else {
        let found = store
            .look(address.id, &address.key)
            .await
            .map_err(|error| error.problem())?;
        status(&found.ok_or_else(unknown)?, &address.key)
    };
    if let Ok(value) = HeaderValue::from_str(&address.id.to_string()) {
        response.headers_mut().insert(INVOCATION, value);
    }
    Ok(response)
}

fn status(record: &Record, key: &Key) -> Response<Body> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let ending = record.ending.as_ref();
    put("id", Some(record.id.to_string().into()));
    put("status", Some(record.status.as_str().into()));
    put("received", Some(record.received.to_string().into()));
    put("started", record.started.map(|time| time.to_string().into()));
    put("ended", record.ended.map(|time| time.to_string().into()));
    put("attempts", Some(record.attempts.into()));
    put(
        "exit_code",
        ending.and_then(|ending| ending.exit_code).map(Value::from),
    );
    put(
        "http_status",
        ending.and_then(|ending| ending.http_status).map(Value::from),
    );
    put(
        "problem",
        ending
            .and_then(|ending| ending.problem)
            .map(|problem| problem.as_str().into()),
    );
    let own = address(record.id, key);
    put(
        "links",
        Some(json!({ "self": own, "result": format!("{own}/result") })),
    );
    let mut response = Response::new(full(Value::Object(body).to_string()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn result(record: &Record, stored: Option<StoredResponse>) -> Result<Response<Body>, Problem> {
    if !record.status.is_end() {
        let detail = format!("It is {}.", record.status.as_str());
        return Err(Problem::new(ProblemCode::NotFinished)
            .detail(detail)
            .retry_after(1));
    }
    let Some(stored) = stored else {
        return Err(problem_of(record).unwrap_or(Problem::new(ProblemCode::ResultGone)));
    };
    let length = stored.body.length();
    let mut response = Response::new(stored_body(&stored.body).await.map_err(|_| {
        // Retention may have removed the file since the row was read.
        Problem::new(ProblemCode::ResultGone)
    })?);
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.headers;
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let bodiless = matches!(stored.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(response)
}
