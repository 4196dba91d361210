//! Instances and sandboxes: what runs now.

use axum::Json;
use axum::extract::State;

use super::Shared;
use crate::api;

/// Every instance that there is now
#[utoipa::path(get, path = "/v1/instances", tag = "instances", responses((status = 200, body = api::Instances)))]
pub(crate) async fn instances(State(shared): State<Shared>) -> Json<api::Instances> {
    Json(api::Instances {
        instances: shared.node.instances_of_all().await,
    })
}

/// Every container that a function started through its Docker socket, and the last ones that were
#[utoipa::path(get, path = "/v1/children", tag = "instances", responses((status = 200, body = api::Children)))]
pub(crate) async fn children(State(shared): State<Shared>) -> Json<api::Children> {
    Json(api::Children {
        children: shared.node.children_of_all().await,
    })
}

/// Every sandbox that exists apart from an instance
///
/// They are the `lean` engine's. The `docker` engine makes one container for both.
#[utoipa::path(get, path = "/v1/sandboxes", tag = "instances", responses((status = 200, body = api::Sandboxes)))]
pub(crate) async fn sandboxes(State(shared): State<Shared>) -> Json<api::Sandboxes> {
    Json(api::Sandboxes {
        sandboxes: shared.node.sandboxes_of_all().await,
    })
}
