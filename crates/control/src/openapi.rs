//! The OpenAPI document, made from the handlers and types themselves.

use utoipa::OpenApi;

use crate::routes::{functions, health, instances, invocations, invoke, logs, metrics};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Skep, control listener",
        description = "What a running Skep says of itself. Additions come \
        without notice; nothing is renamed or removed within /v1."
    ),
    paths(
        functions::list,
        functions::detail,
        invoke::root,
        invoke::below,
        invocations::list,
        invocations::detail,
        logs::of_invocation,
        logs::all,
        instances::instances,
        instances::children,
        instances::sandboxes,
        metrics::metrics,
        health::alive,
        health::ready,
    )
)]
struct Document;

/// The document, as JSON.
pub fn document() -> serde_json::Value {
    serde_json::to_value(Document::openapi()).unwrap_or_default()
}
