//! The paths of the control listener, a file for each kind of thing.

pub(crate) mod functions;
pub(crate) mod health;
pub(crate) mod instances;
pub(crate) mod invocations;
pub(crate) mod invoke;
pub(crate) mod logs;
pub(crate) mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use http::request::Parts;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use skep_model::ProblemCode;
use tokio_util::sync::CancellationToken;

use crate::node::Node;
use crate::reply::Failure;

/// What every path reads from.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) registry: Arc<Registry>,
    /// Ends streams that would otherwise last as long as the process.
    pub(crate) stop: CancellationToken,
}

/// Every path.
pub(crate) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/v1/functions", get(functions::list))
        .route("/v1/functions/{name}", get(functions::detail))
        .route("/v1/functions/{name}/invoke", any(invoke::root))
        .route("/v1/functions/{name}/invoke/", any(invoke::root))
        .route("/v1/functions/{name}/invoke/{*path}", any(invoke::below))
        .route("/v1/invocations", get(invocations::list))
        .route("/v1/invocations/{id}", get(invocations::detail))
        .route("/v1/invocations/{id}/logs", get(logs::of_invocation))
        .route("/v1/logs", get(logs::all))
        .route("/v1/instances", get(instances::instances))
        .route("/v1/children", get(instances::children))
        .route("/v1/sandboxes", get(instances::sandboxes))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(openapi))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_allowed)
        .with_state(shared)
}

async fn openapi() -> impl IntoResponse {
    axum::Json(crate::openapi::document())
}

async fn nothing_here() -> Failure {
    Failure::new(ProblemCode::NotFound, "no such path; /openapi.json lists them")
}

async fn not_allowed() -> Failure {
    Failure::new(ProblemCode::MethodNotAllowed, "this path is read with GET")
}

/// A query string as `T`; what can't be read is a problem, as everywhere.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(error) => Err(Failure::new(
                ProblemCode::BadRequest,
                format!("the query: {error}"),
            )),
        }
    }
}

/// The id of an invocation in a path or a query.
pub(crate) fn invocation_id(text: &str) -> Result<skep_model::InvocationId, Failure> {
    text.parse().map_err(|_| {
        Failure::new(
            ProblemCode::BadRequest,
            format!("{text:?} is not the id of an invocation, which is a UUID"),
        )
    })
}

/// A time in a query.
pub(crate) fn time(text: &str) -> Result<jiff::Timestamp, Failure> {
    text.parse().map_err(|error| {
        Failure::new(
            ProblemCode::BadRequest,
            format!("since must be a time such as 2026-01-31T12:00:00Z: {error}"),
        )
    })
}
