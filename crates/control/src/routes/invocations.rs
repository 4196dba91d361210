//! Invocations: their records, page by page.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use skep_model::{ProblemCode, Status};
use utoipa::IntoParams;

use super::{Query, Shared, invocation_id, time};
use crate::api;
use crate::node::InvocationFilter;
use crate::reply::Failure;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

/// Which invocations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only this function's.
    function: Option<String>,
    /// Only those with this status.
    status: Option<Status>,
    /// Only those that arrived then or later (RFC 3339).
    since: Option<String>,
    /// What `next` said on the page before.
    cursor: Option<String>,
    /// At most so many on a page: 1 to 1000, 100 where nothing is said.
    limit: Option<u32>,
}

/// Invocations, the newest first
#[utoipa::path(get, path = "/v1/invocations", tag = "invocations", params(Wanted),
    responses((status = 200, body = api::Invocations),
        (status = 400, body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(shared): State<Shared>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<api::Invocations>, Failure> {
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Failure::new(
            ProblemCode::BadRequest,
            format!("limit must be from 1 to {MAX_LIMIT}"),
        ));
    }
    let filter = InvocationFilter {
        function: wanted.function,
        status: wanted.status,
        since: wanted.since.as_deref().map(time).transpose()?,
        before: wanted.cursor.as_deref().map(invocation_id).transpose()?,
        // One more than is shown tells whether there is a next page.
        limit: limit + 1,
    };
    let mut invocations = shared.node.invocations(filter).await?;
    let more = invocations.len() > limit as usize;
    invocations.truncate(limit as usize);
    let next = if more {
        invocations.last().map(|last| last.id.clone())
    } else {
        None
    };
    Ok(Json(api::Invocations { invocations, next }))
}

/// One invocation
#[utoipa::path(get, path = "/v1/invocations/{id}", tag = "invocations",
    params(("id" = String, Path, description = "The invocation's id")),
    responses((status = 200, body = api::Invocation),
        (status = 404, body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn detail(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<api::Invocation>, Failure> {
    let id = invocation_id(&id)?;
    match shared.node.invocation(id).await? {
        Some(invocation) => Ok(Json(invocation)),
        None => Err(Failure::new(
            ProblemCode::NotFound,
            format!("no invocation {id} is known, or no longer"),
        )),
    }
}
