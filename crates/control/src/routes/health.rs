//! Whether the process lives, and whether it can take work.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Shared;
use crate::api;

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It does")))]
pub(crate) async fn alive() -> &'static str {
    "alive\n"
}

/// Whether work can be taken: the engine answers, the store can be written, the functions are known
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = api::Readiness), (status = 503, body = api::Readiness)))]
pub(crate) async fn ready(State(shared): State<Shared>) -> Response {
    let checks = shared.node.readiness().await;
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(api::Readiness { ready, checks })).into_response()
}
