//! Pulls an image.

use crate::engine::{message, patient};
use crate::error::DeployError;
use crate::progress::{Event, Progress};
use crate::registry;
use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;
use skep_compose::Service;
use std::path::Path;

pub(super) async fn pull(
    docker: &Docker,
    service: &Service,
    image: &str,
    accounts: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    progress.event(Event::Pulling {
        image: image.to_owned(),
    });
    let options = CreateImageOptions {
        from_image: Some(with_tag(image)),
        platform: service.platform.clone().unwrap_or_default(),
        ..CreateImageOptions::default()
    };
    let docker = registry::for_pull(patient(docker), accounts, image, progress).await;
    let mut steps = std::pin::pin!(docker.create_image(Some(options), None, None));
    while let Some(step) = steps.next().await {
        let failed = |message: String| DeployError::Pull {
            service: service.name.clone(),
            image: image.to_owned(),
            message,
        };
        let step = step.map_err(|error| failed(message(&error)))?;
        if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
            return Err(failed(error));
        }
        // Layer by layer, but not byte by byte.
        if let Some(status) = step.status
            && step.progress_detail.and_then(|detail| detail.total).is_none()
        {
            progress.event(Event::Step {
                image: image.to_owned(),
                text: match step.id {
                    Some(layer) => format!("{layer} {status}"),
                    None => status,
                },
            });
        }
    }
    progress.event(Event::Pulled {
        image: image.to_owned(),
    });
    Ok(())
}

/// Without a tag the engine would pull every tag.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}
