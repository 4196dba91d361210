//! Single containers: create, start, stop, remove.

use super::Deployment;
use crate::engine::{is_conflict, is_missing, patient};
use crate::error::DeployError;
use crate::progress::{Event, Progress};
use crate::spec::{Place, Plan, endpoints};
use crate::state::Existing;
use bollard::Docker;
use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions, StopContainerOptions};
use std::collections::BTreeMap;
use std::time::Duration;

impl Deployment<'_> {
    /// Creates a container and attaches it to all its networks.
    pub(super) async fn create(&self, plan: &Plan, place: &Place) -> Result<String, DeployError> {
        let service = &plan.service;
        let name = &place.name;
        let options = CreateContainerOptions {
            name: Some(name.clone()),
            platform: service.platform.clone().unwrap_or_default(),
        };
        let request = plan.request(self.project, place);
        let created = self
            .docker
            .create_container(Some(options), request)
            .await
            .map_err(DeployError::engine(format!("create {name}")))?;
        for warning in created.warnings {
            self.progress.event(Event::Note {
                text: format!("{name}: {warning}"),
            });
        }
        if !place.all_networks {
            for (network, settings) in endpoints(self.project, service, name).into_iter().skip(1) {
                let request = NetworkConnectRequest {
                    container: created.id.clone(),
                    endpoint_config: Some(settings),
                };
                let connected = self.docker.connect_network(&network, request).await;
                if let Err(error) = connected {
                    // Half a container is none.
                    let _ = remove(self.docker, &created.id, true, place.inherited.is_empty()).await;
                    return Err(DeployError::engine(format!("connect {name} to {network}"))(error));
                }
            }
        }
        Ok(created.id)
    }

    pub(super) async fn start(&self, id: &str, name: &str) -> Result<(), DeployError> {
        self.docker
            .start_container(id, None)
            .await
            .map_err(DeployError::engine(format!("start {name}")))?;
        self.progress.event(Event::Started {
            name: name.to_owned(),
        });
        Ok(())
    }

    /// Stops a container if it runs, and removes it. Its anonymous volumes are kept, since what was written there is
    /// somebody's; those of a template nobody ever wrote to, as each of its instances has its own.
    pub(super) async fn discard(&self, container: &Existing) -> Result<(), DeployError> {
        let unused = container.is_parked() && container.is_function();
        stop(self.docker, container, None, self.progress).await?;
        remove(self.docker, &container.id, true, unused).await?;
        self.progress.event(Event::Removed {
            kind: "container",
            name: container.name.clone(),
        });
        Ok(())
    }

    /// The lowest number whose name nobody holds.
    pub(super) fn free_number(&self, plan: &Plan, existing: &[Existing]) -> u32 {
        (1..)
            .find(|&number| {
                let name = plan.container_name(self.project, number);
                !existing
                    .iter()
                    .any(|container| container.number == number || container.name == name)
            })
            .unwrap_or(u32::MAX)
    }

    /// The anonymous volumes of a container, by where they are mounted.
    pub(super) async fn anonymous_volumes(
        &self,
        id: &str,
        plan: &Plan,
    ) -> Result<BTreeMap<String, String>, DeployError> {
        let found = self
            .docker
            .inspect_container(id, None)
            .await
            .map_err(DeployError::engine(format!("inspect {id}")))?;
        let named: Vec<&str> = self
            .project
            .volumes
            .values()
            .map(|volume| volume.name.as_str())
            .collect();
        let mut volumes = BTreeMap::new();
        for mount in found.mounts.unwrap_or_default() {
            let is_volume = mount.typ.as_deref() == Some("volume");
            if let (true, Some(name), Some(target)) = (is_volume, mount.name, mount.destination) {
                // Another kind of mount may stand there now.
                let replaced = plan.service.mounts.iter().any(|mount| {
                    mount.target() == target
                        && !matches!(mount, skep_compose::Mount::Volume { source: None, .. })
                });
                if !replaced && !named.contains(&name.as_str()) && is_anonymous(&name) {
                    volumes.insert(target, name);
                }
            }
        }
        Ok(volumes)
    }
}

/// The engine calls anonymous volumes by 64 hexadecimal digits.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Stops a container, by its own time to stop unless another is given.
pub(crate) async fn stop(
    docker: &Docker,
    container: &Existing,
    patience: Option<Duration>,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    if container.is_parked() {
        return Ok(());
    }
    if container.is_running() {
        progress.event(Event::Stopping {
            name: container.name.clone(),
        });
    }
    let options = StopContainerOptions {
        signal: None,
        t: patience.map(|time| i32::try_from(time.as_secs()).unwrap_or(i32::MAX)),
    };
    match patient(docker).stop_container(&container.id, Some(options)).await {
        Ok(()) => Ok(()),
        // Stopped or gone already.
        Err(error) if is_missing(&error) || is_not_modified(&error) => Ok(()),
        Err(error) => Err(DeployError::engine(format!("stop {}", container.name))(error)),
    }
}

fn is_not_modified(error: &bollard::errors::Error) -> bool {
    matches!(
        error,
        bollard::errors::Error::DockerResponseServerError { status_code: 304, .. }
    )
}

/// Removes a container; one that is gone or going already is fine.
pub(crate) async fn remove(docker: &Docker, id: &str, force: bool, volumes: bool) -> Result<(), DeployError> {
    let options = RemoveContainerOptions {
        v: volumes,
        force,
        link: false,
    };
    match docker.remove_container(id, Some(options)).await {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) || is_conflict(&error) => Ok(()),
        Err(error) => Err(DeployError::engine(format!("remove {id}"))(error)),
    }
}
