//! Functions: what is in force and what is invalid.

use axum::Json;
use axum::extract::{Path, State};
use skep_model::ProblemCode;

use super::Shared;
use crate::api;
use crate::reply::Failure;

/// Every function in force and every invalid template
#[utoipa::path(get, path = "/v1/functions", tag = "functions",
    responses((status = 200, body = api::Functions)))]
pub(crate) async fn list(State(shared): State<Shared>) -> Json<api::Functions> {
    Json(api::Functions {
        functions: shared.node.functions(),
    })
}

/// One function: its settings, its template, what is wrong with others of its name
#[utoipa::path(get, path = "/v1/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "The function's name")),
    responses((status = 200, body = api::FunctionDetail),
        (status = 404, body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn detail(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<api::FunctionDetail>, Failure> {
    match shared.node.function(&name) {
        Some(detail) => Ok(Json(detail)),
        None => Err(unknown(&name)),
    }
}

/// No template carries this name.
pub(crate) fn unknown(name: &str) -> Failure {
    Failure::new(ProblemCode::NotFound, format!("no function is named {name:?}"))
}
