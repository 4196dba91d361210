//! Brings a project up.

use crate::apply::{Applied, Deployment};
use crate::control::Control;
use crate::error::DeployError;
use crate::image;
use crate::options::UpOptions;
use crate::progress::{Event, Progress};
use crate::resources;
use crate::spec::{Plan, takes_all_networks};
use crate::state::{self, Existing};
use crate::wait;
use bollard::Docker;
use futures::future::join_all;
use skep_compose::{Condition, Project};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// What a deploy left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// Containers of each service, by id.
    pub containers: BTreeMap<String, Vec<String>>,
    /// Services that were made or replaced.
    pub changed: Vec<String>,
}

/// A service on its way, as its dependents see it.
#[derive(Clone, Debug)]
enum Stage {
    Pending,
    Applied(Applied),
    Failed,
}

/// Makes the engine hold what the project says. What is as it should be is
/// not touched, so a second call does nothing; one that was interrupted is
/// completed by the next.
///
/// # Errors
/// The first thing that keeps all from going on (a network, an image), or
/// every service that failed; services that do not depend on a failed one are
/// brought up all the same.
pub async fn up(
    docker: &Docker,
    project: &Project,
    options: &UpOptions,
    progress: &dyn Progress,
) -> Result<Deployed, DeployError> {
    let images = image::ensure_all(docker, project, options, progress).await?;
    let gateways = resources::networks(docker, project, progress).await?;
    resources::volumes(docker, project, progress).await?;
    let mut existing = by_service(state::containers(docker, &project.name).await?);
    let deployment = Deployment {
        docker,
        project,
        options,
        progress,
        control: options
            .control
            .as_ref()
            .map(|url| Control::new(url, options.control_token.clone())),
        all_networks: takes_all_networks(docker),
    };
    let stages: BTreeMap<&str, watch::Sender<Stage>> = project
        .services
        .keys()
        .map(|name| (name.as_str(), watch::Sender::new(Stage::Pending)))
        .collect();
    let mut work = Vec::new();
    for (name, service) in &project.services {
        let Some(image) = images.get(name) else {
            continue;
        };
        let plan = Plan::new(project, service, image.clone(), &gateways, options);
        let found = existing.remove(name).unwrap_or_default();
        work.push(one(&deployment, &stages, plan, found));
    }
    let mut deployed = Deployed::default();
    let mut errors = Vec::new();
    for (name, outcome) in project.services.keys().zip(join_all(work).await) {
        match outcome {
            Ok(applied) => {
                if applied.changed {
                    deployed.changed.push(name.clone());
                }
                deployed.containers.insert(name.clone(), applied.containers);
            }
            Err(error) => errors.push(error),
        }
    }
    orphans(&deployment, existing).await?;
    match errors.len() {
        0 => Ok(deployed),
        1 => Err(errors.swap_remove(0)),
        _ => Err(DeployError::Several(errors)),
    }
}

fn by_service(containers: Vec<Existing>) -> BTreeMap<String, Vec<Existing>> {
    let mut services: BTreeMap<String, Vec<Existing>> = BTreeMap::new();
    for container in containers {
        if !container.is_one_off() {
            services
                .entry(container.service.clone())
                .or_default()
                .push(container);
        }
    }
    services
}

/// One service: its dependencies first, then itself, then the word to those
/// that wait for it.
async fn one(
    deployment: &Deployment<'_>,
    stages: &BTreeMap<&str, watch::Sender<Stage>>,
    mut plan: Plan,
    existing: Vec<Existing>,
) -> Result<Applied, DeployError> {
    let name = plan.service.name.clone();
    let outcome = async {
        let restart = dependencies(deployment, stages, &mut plan).await?;
        deployment.apply(&plan, existing, restart).await
    }
    .await;
    if let Some(stage) = stages.get(name.as_str()) {
        stage.send_replace(match &outcome {
            Ok(applied) => Stage::Applied(applied.clone()),
            Err(_) => Stage::Failed,
        });
    }
    outcome
}

/// Waits for what the service depends on; gives whether it is to be restarted
/// because one of them was replaced.
async fn dependencies(
    deployment: &Deployment<'_>,
    stages: &BTreeMap<&str, watch::Sender<Stage>>,
    plan: &mut Plan,
) -> Result<bool, DeployError> {
    let name = plan.service.name.clone();
    let mut restart = false;
    let mut applied_by_name = BTreeMap::new();
    for (dependency, how) in plan.service.depends_on.clone() {
        let Some(stage) = stages.get(dependency.as_str()) else {
            continue;
        };
        let mut stage = stage.subscribe();
        let reached = stage
            .wait_for(|stage| !matches!(stage, Stage::Pending))
            .await
            .map_or(Stage::Failed, |stage| stage.clone());
        let outcome = match reached {
            Stage::Applied(applied) => {
                let held = hold(deployment, &name, &dependency, how.condition, &applied).await;
                restart |= how.restart && applied.changed;
                applied_by_name.insert(dependency.clone(), applied);
                held
            }
            _ => Err(DeployError::Skipped {
                service: name.clone(),
                dependency: dependency.clone(),
            }),
        };
        match outcome {
            Ok(()) => {}
            Err(error) if how.required => return Err(error),
            Err(error) => deployment.progress.event(Event::Note {
                text: format!("{} (not required, going on)", error.report()),
            }),
        }
    }
    let peer = plan
        .service
        .network_mode
        .as_deref()
        .and_then(|mode| mode.strip_prefix("service:"))
        .map(str::to_owned);
    if let Some(other) = peer {
        let container = applied_by_name
            .get(&other)
            .and_then(|applied| applied.containers.first())
            .ok_or_else(|| DeployError::NoPeer {
                service: name,
                other: other.clone(),
            })?;
        plan.join(deployment.project, container);
    }
    Ok(restart)
}

/// Waits until a dependency's containers are what is asked for.
async fn hold(
    deployment: &Deployment<'_>,
    service: &str,
    dependency: &str,
    condition: Condition,
    applied: &Applied,
) -> Result<(), DeployError> {
    // Parked or started it is already.
    if condition == Condition::Started {
        return Ok(());
    }
    let progress = deployment.progress;
    progress.event(Event::Waiting {
        name: service.to_owned(),
        what: format!("{dependency} to be {}", wait::word(condition)),
    });
    let mut outcome = Ok(());
    for container in &applied.containers {
        let patience = deployment.options.dependency_timeout;
        let held = wait::until(deployment.docker, container, condition, patience).await?;
        if let Err(reason) = held {
            outcome = Err(DeployError::Dependency {
                service: service.to_owned(),
                dependency: dependency.to_owned(),
                reason,
            });
            break;
        }
    }
    progress.event(Event::Waited {
        name: service.to_owned(),
    });
    outcome
}

/// Containers of the project whose service the file does not have; those that
/// a profile leaves out are no orphans.
async fn orphans(
    deployment: &Deployment<'_>,
    left: BTreeMap<String, Vec<Existing>>,
) -> Result<(), DeployError> {
    for (service, containers) in left {
        if deployment.project.disabled.contains(&service) {
            continue;
        }
        for container in containers {
            if deployment.options.remove_orphans {
                crate::apply::stop(deployment.docker, &container, None, deployment.progress).await?;
                crate::apply::remove(deployment.docker, &container.id, true, false).await?;
                deployment.progress.event(Event::Removed {
                    kind: "container",
                    name: container.name,
                });
            } else {
                deployment.progress.event(Event::Note {
                    text: format!(
                        "{} belongs to this project, but {service} is not in the file; \
                         remove it with --remove-orphans",
                        container.name
                    ),
                });
            }
        }
    }
    Ok(())
}
