//! Metrics in OpenMetrics' text format, which Prometheus reads.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use skep_model::ProblemCode;

use super::Shared;
use crate::reply::Failure;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics (OpenMetrics)
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => Failure::new(
            ProblemCode::Internal,
            format!("a metric can't be written: {error}"),
        )
        .into_response(),
    }
}
