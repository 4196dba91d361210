//! The image of a service: there already, pulled, or built.

mod build;
mod context;
mod ignore;
mod pull;

use crate::engine::image_id;
use crate::error::DeployError;
use crate::options::UpOptions;
use crate::progress::Progress;
use bollard::Docker;
use skep_compose::{Project, PullPolicy, Service};
use std::collections::BTreeMap;

/// An image as a service runs it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) id: String,
}

/// What a service's image is called: its own name, or Compose's for what is
/// built without one.
pub(crate) fn name_of(project: &Project, service: &Service) -> String {
    service
        .image
        .clone()
        .unwrap_or_else(|| format!("{}-{}", project.name, service.name))
}

/// Sees to it that every service's image is there, one after the other: the
/// builder keeps both cores busy with one.
pub(crate) async fn ensure_all(
    docker: &Docker,
    project: &Project,
    options: &UpOptions,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Image>, DeployError> {
    let mut images: BTreeMap<String, Image> = BTreeMap::new();
    let mut done: BTreeMap<(String, Option<String>), Image> = BTreeMap::new();
    for service in project.services.values() {
        let name = name_of(project, service);
        // Two services of one name and build need one build.
        let same = (
            name.clone(),
            service.build.as_ref().map(|build| format!("{build:?}")),
        );
        let image = match done.get(&same) {
            Some(image) => image.clone(),
            None => ensure(docker, service, name, options, progress).await?,
        };
        done.insert(same, image.clone());
        images.insert(service.name.clone(), image);
    }
    Ok(images)
}

async fn ensure(
    docker: &Docker,
    service: &Service,
    name: String,
    options: &UpOptions,
    progress: &dyn Progress,
) -> Result<Image, DeployError> {
    let found = image_id(docker, &name).await?;
    let build_now = match (&service.build, service.pull_policy) {
        (None, _) => None,
        (Some(build), PullPolicy::Build) => Some(build),
        (Some(build), _) if options.build || found.is_none() => Some(build),
        _ => None,
    };
    let accounts = options.docker_config.as_deref();
    if let Some(build) = build_now {
        build::build(docker, service, build, &name, accounts, progress).await?;
    } else {
        match (service.pull_policy, &found) {
            // What is built here is not looked for in a registry.
            (PullPolicy::Always, _) if service.build.is_none() => {
                pull::pull(docker, service, &name, accounts, progress).await?;
            }
            (_, Some(_)) => {}
            (PullPolicy::Never, None) => {
                return Err(DeployError::NoImage {
                    service: service.name.clone(),
                    image: name,
                });
            }
            _ => pull::pull(docker, service, &name, accounts, progress).await?,
        }
    }
    match image_id(docker, &name).await? {
        Some(id) => Ok(Image { name, id }),
        None => Err(DeployError::NoImage {
            service: service.name.clone(),
            image: name,
        }),
    }
}
