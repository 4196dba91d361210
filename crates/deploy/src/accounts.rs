//! Accounts at registries, for whoever else pulls or has others pull.

use std::collections::BTreeMap;
use std::path::Path;

use bollard::Docker;

use crate::progress::Progress;
use crate::registry;

/// The engine; every question that is asked of it carries the account for this image's registry, where `config.json`
/// in the folder (or a helper named in it) has one.
pub async fn for_image(
    docker: Docker,
    folder: Option<&Path>,
    image: &str,
    progress: &dyn Progress,
) -> Docker {
    registry::for_pull(docker, folder, image, progress).await
}

/// Every account that is known: from a registry's host (`docker.io` for Docker Hub) to the engine API's `AuthConfig`.
/// It is secret.
pub async fn known(folder: Option<&Path>, progress: &dyn Progress) -> BTreeMap<String, serde_json::Value> {
    registry::known(folder, progress).await
}
