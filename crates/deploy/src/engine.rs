//! Small questions to the engine.

use crate::error::DeployError;
use bollard::Docker;
use bollard::errors::Error;
use std::collections::HashMap;

/// Whether the engine says that something does not exist.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine says that something exists already or is in use.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 409 | 403,
            ..
        }
    )
}

/// The engine's own words.
pub(crate) fn message(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            message.clone()
        }
        other => other.to_string(),
    }
}

/// The engine with time for slow requests: builds, pulls, containers that
/// take their whole grace period to stop.
pub(crate) fn patient(docker: &Docker) -> Docker {
    docker
        .clone()
        .with_timeout(std::time::Duration::from_secs(24 * 3600))
}

/// A filter of one label.
pub(crate) fn label_filter(label: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(String::from("label"), vec![format!("{label}={value}")])])
}

/// An image's id, if the engine has it.
pub(crate) async fn image_id(docker: &Docker, image: &str) -> Result<Option<String>, DeployError> {
    match docker.inspect_image(image).await {
        Ok(found) => Ok(found.id),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(DeployError::engine(format!("look for the image {image}"))(error)),
    }
}

/// The first API version (major, minor) that takes several networks when a
/// container is created (Docker 25).
pub(crate) const ALL_NETWORKS: (usize, usize) = (1, 44);
