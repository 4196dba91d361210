//! Logs as lines of JSON (NDJSON), at once or as they are written.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use futures::StreamExt;
use http::{HeaderValue, header};
use serde::Deserialize;
use skep_model::ProblemCode;
use utoipa::IntoParams;

use super::{Query, Shared, functions, invocation_id, time};
use crate::api;
use crate::node::LogFilter;
use crate::reply::Failure;

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only this function's.
    function: Option<String>,
    /// Only this invocation's, whether a record of it is kept or not.
    invocation: Option<String>,
    /// Whether to go on with what is still to be written.
    #[serde(default)]
    follow: bool,
    /// Only the last so many of what there is.
    tail: Option<u32>,
    /// Only lines from then on (RFC 3339).
    since: Option<String>,
}

/// Logs, the oldest line first: one JSON object a line
#[utoipa::path(get, path = "/v1/logs", tag = "invocations", params(Wanted),
    responses((status = 200, body = api::LogLine, content_type = "application/x-ndjson"),
        (status = 400, body = api::Problem, content_type = "application/problem+json"),
        (status = 404, body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn all(
    State(shared): State<Shared>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let filter = filter(wanted)?;
    if let Some(name) = &filter.function
        && shared.node.knows_every_function()
        && shared.node.function(name).is_none()
        && shared.node.invocations(newest_of(name)).await?.is_empty()
    {
        return Err(functions::unknown(name));
    }
    stream(&shared, filter).await
}

/// One invocation's log; with `follow` until it has ended
#[utoipa::path(get, path = "/v1/invocations/{id}/logs", tag = "invocations",
    params(("id" = String, Path, description = "The invocation's id"), Wanted),
    responses((status = 200, body = api::LogLine, content_type = "application/x-ndjson"),
        (status = 404, body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn of_invocation(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let id = invocation_id(&id)?;
    let filter = LogFilter {
        invocation: Some(id),
        ..filter(wanted)?
    };
    if shared.node.invocation(id).await?.is_none() {
        return Err(Failure::new(
            ProblemCode::NotFound,
            format!("no invocation {id} is known, or no longer"),
        ));
    }
    stream(&shared, filter).await
}

/// A function that is gone still has its log for as long as it has records.
fn newest_of(name: &str) -> crate::InvocationFilter {
    crate::InvocationFilter {
        function: Some(name.to_owned()),
        limit: 1,
        ..Default::default()
    }
}

fn filter(wanted: Wanted) -> Result<LogFilter, Failure> {
    Ok(LogFilter {
        function: wanted.function,
        invocation: wanted.invocation.as_deref().map(invocation_id).transpose()?,
        since: wanted.since.as_deref().map(time).transpose()?,
        tail: wanted.tail,
        follow: wanted.follow,
    })
}

async fn stream(shared: &Shared, filter: LogFilter) -> Result<Response, Failure> {
    let stop = shared.stop.clone();
    let lines = shared.node.logs(filter).await?;
    let bytes = lines
        .map(|line| match line {
            Ok(line) => serde_json::to_vec(&line)
                .map_err(std::io::Error::other)
                .map(|mut json| {
                    json.push(b'\n');
                    Bytes::from(json)
                }),
            // The head is long gone; what is left to tell the reader is that the end is not the end.
            Err(problem) => Err(std::io::Error::other(format!("{problem:?}"))),
        })
        .take_until(async move { stop.cancelled().await });
    let mut response = Response::new(Body::from_stream(bytes));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}
