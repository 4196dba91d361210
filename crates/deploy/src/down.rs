//! Takes a project down.

use crate::apply;
use crate::engine::{is_conflict, is_missing, label_filter, message};
use crate::error::DeployError;
use crate::labels;
use crate::options::DownOptions;
use crate::progress::{Event, Progress};
use crate::state::{self, Existing};
use bollard::Docker;
use bollard::models::NetworkInspect;
use bollard::query_parameters::{
    EventsOptions, ListNetworksOptions, ListVolumesOptions, RemoveVolumeOptions,
};
use futures::StreamExt;
use futures::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Between two looks at a network that instances still use, if no event comes.
const RECHECK: Duration = Duration::from_secs(1);

/// Removes the project's containers, templates included, then its networks
/// and, if asked for, its volumes. Only what carries the project's label is
/// touched; external networks and volumes never do.
///
/// # Errors
/// The engine's, where something could not be stopped or removed.
pub async fn down(
    docker: &Docker,
    options: &DownOptions,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    let (containers, orphans): (Vec<_>, Vec<_>) = state::containers(docker, &options.project)
        .await?
        .into_iter()
        .partition(|container| {
            options.remove_orphans
                || options
                    .services
                    .as_ref()
                    .is_none_or(|services| services.contains(&container.service))
        });
    for orphan in orphans {
        progress.event(Event::Note {
            text: format!(
                "{} belongs to this project, but {} is not in the file; remove it with \
                 --remove-orphans",
                orphan.name, orphan.service
            ),
        });
    }
    for level in levels(containers) {
        try_join_all(
            level
                .iter()
                .map(|container| take_down(docker, container, options, progress)),
        )
        .await?;
    }
    networks(docker, options, progress).await?;
    if options.volumes {
        volumes(docker, options, progress).await?;
    }
    Ok(())
}

async fn take_down(
    docker: &Docker,
    container: &Existing,
    options: &DownOptions,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    apply::stop(docker, container, options.stop_timeout, progress).await?;
    apply::remove(docker, &container.id, true, options.volumes).await?;
    progress.event(Event::Removed {
        kind: "container",
        name: container.name.clone(),
    });
    Ok(())
}

/// Containers in the order to stop them: whoever depends on others first.
fn levels(containers: Vec<Existing>) -> Vec<Vec<Existing>> {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in &containers {
        needs
            .entry(container.service.clone())
            .or_default()
            .extend(container.depends_on());
    }
    let mut left = containers;
    let mut levels = Vec::new();
    while !left.is_empty() {
        let still: BTreeSet<String> = left.iter().map(|container| container.service.clone()).collect();
        let needed: BTreeSet<&String> = needs
            .iter()
            .filter(|(service, _)| still.contains(*service))
            .flat_map(|(_, others)| others)
            .collect();
        let (now, later): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|container| !needed.contains(&container.service));
        if now.is_empty() {
            // Labels of a circle, which no file of ours could have made.
            levels.push(later);
            break;
        }
        levels.push(now);
        left = later;
    }
    levels
}

async fn networks(
    docker: &Docker,
    options: &DownOptions,
    progress: &dyn Progress,
) -> Result<(), DeployError> {
    let found = docker
        .list_networks(Some(ListNetworksOptions {
            filters: Some(label_filter(labels::PROJECT, &options.project)),
        }))
        .await
        .map_err(DeployError::engine("list the project's networks"))?;
    for network in found {
        let (Some(id), Some(name)) = (network.id, network.name) else {
            continue;
        };
        if let Some(users) = leave(docker, &id, &name, options, progress).await? {
            progress.event(Event::Note {
                text: format!("the network {name} is left, since {users} still use it"),
            });
            continue;
        }
        match docker.remove_network(&id).await {
            Ok(()) => progress.event(Event::Removed {
                kind: "network",
                name,
            }),
            Err(error) if is_missing(&error) => {}
            Err(error) if is_conflict(&error) => progress.event(Event::Note {
                text: format!("the network {name} is left: {}", message(&error)),
            }),
            Err(error) => {
                return Err(DeployError::engine(format!("remove the network {name}"))(error));
            }
        }
    }
    Ok(())
}

/// Waits until Skep's instances have left a network: with their templates
/// gone they finish what they serve and go. Gives who else is in it.
async fn leave(
    docker: &Docker,
    id: &str,
    name: &str,
    options: &DownOptions,
    progress: &dyn Progress,
) -> Result<Option<String>, DeployError> {
    let filters = HashMap::from([
        (String::from("type"), vec![String::from("network")]),
        (String::from("event"), vec![String::from("disconnect")]),
    ]);
    let mut events = std::pin::pin!(docker.events(Some(EventsOptions {
        filters: Some(filters),
        ..EventsOptions::default()
    })));
    let deadline = tokio::time::Instant::now() + options.network_timeout;
    let mut told = false;
    let outcome = loop {
        let network = match docker.inspect_network(id, None).await {
            Ok(network) => network,
            Err(error) if is_missing(&error) => break None,
            Err(error) => {
                return Err(DeployError::engine(format!("inspect the network {name}"))(error));
            }
        };
        let (instances, others) = users(docker, network).await;
        if instances.is_empty() && others.is_empty() {
            break None;
        }
        if instances.is_empty() || tokio::time::Instant::now() >= deadline {
            break Some([others, instances].concat().join(", "));
        }
        if !told {
            told = true;
            progress.event(Event::Waiting {
                name: name.to_owned(),
                what: format!("{} to end", instances.join(", ")),
            });
        }
        // Either way the next look decides.
        let _ = tokio::time::timeout(RECHECK, events.next()).await;
    };
    if told {
        progress.event(Event::Waited {
            name: name.to_owned(),
        });
    }
    Ok(outcome)
}

/// Skep's own containers in a network, and everybody else's.
async fn users(docker: &Docker, network: NetworkInspect) -> (Vec<String>, Vec<String>) {
    let (mut instances, mut others) = (Vec::new(), Vec::new());
    for (id, endpoint) in network.containers.unwrap_or_default() {
        let name = endpoint.name.unwrap_or_else(|| id.clone());
        match docker.inspect_container(&id, None).await {
            Ok(container) => {
                let labels = container.config.and_then(|config| config.labels);
                if labels.is_some_and(|labels| labels.contains_key(labels::OWNER)) {
                    instances.push(name);
                } else {
                    others.push(name);
                }
            }
            // Gone between the two questions.
            Err(error) if is_missing(&error) => instances.push(name),
            Err(_) => others.push(name),
        }
    }
    (instances, others)
}

async fn volumes(docker: &Docker, options: &DownOptions, progress: &dyn Progress) -> Result<(), DeployError> {
    let found = docker
        .list_volumes(Some(ListVolumesOptions {
            filters: Some(label_filter(labels::PROJECT, &options.project)),
        }))
        .await
        .map_err(DeployError::engine("list the project's volumes"))?;
    for volume in found.volumes.unwrap_or_default() {
        let name = volume.name;
        match docker.remove_volume(&name, None::<RemoveVolumeOptions>).await {
            Ok(()) => progress.event(Event::Removed { kind: "volume", name }),
            Err(error) if is_missing(&error) => {}
            Err(error) if is_conflict(&error) => progress.event(Event::Note {
                text: format!("the volume {name} is left: {}", message(&error)),
            }),
            Err(error) => {
                return Err(DeployError::engine(format!("remove the volume {name}"))(error));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ContainerSummaryStateEnum;

    fn container(service: &str, depends_on: &str) -> Existing {
        Existing {
            id: service.to_owned(),
            name: service.to_owned(),
            service: service.to_owned(),
            number: 1,
            created: 0,
            labels: HashMap::from([(labels::DEPENDS_ON.to_owned(), depends_on.to_owned())]),
            image_id: String::new(),
            state: ContainerSummaryStateEnum::RUNNING,
        }
    }

    fn order(containers: Vec<Existing>) -> Vec<Vec<String>> {
        let levels = levels(containers).into_iter();
        levels
            .map(|level| level.into_iter().map(|container| container.service).collect())
            .collect()
    }

    #[test]
    fn whoever_depends_on_others_goes_first() {
        let containers = vec![
            container("cache", ""),
            container("database", ""),
            container("web", "api:service_started:false,cache:service_healthy:true"),
            container("api", "database:service_healthy:false"),
        ];
        let expected: [&[&str]; 3] = [&["web"], &["cache", "api"], &["database"]];
        assert_eq!(order(containers), expected);
    }

    #[test]
    fn a_circle_of_labels_still_goes() {
        let containers = vec![
            container("a", "b:x:y"),
            container("b", "a:x:y"),
            container("c", "a:x:y"),
        ];
        let expected: [&[&str]; 2] = [&["c"], &["a", "b"]];
        assert_eq!(order(containers), expected);
    }
}
