//! Off the Swarm: nothing stays but functions, which are Docker's own.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{Node, Service};
use skep_deploy::{Event, Progress};
use skep_wire::{AGENT_SERVICE, GATEWAY_SERVICE, NETWORK, PART, label};
use tokio::time::{Instant, sleep};

use crate::error::{InstallError, is};
use crate::material::{self, removed};
use crate::options::UninstallOptions;
use crate::plan;
use crate::spec;
use crate::swarm;
use crate::wait;

/// How often the network is tried, which nodes let go of a little after their containers.
const LOOK: Duration = Duration::from_millis(500);
const NETWORK_PATIENCE: Duration = Duration::from_secs(30);

/// Removes everything that carries Skep's labels. Gateways go first, so that nothing new comes in while agents end
/// what runs. Gives whether there was anything.
///
/// # Errors
/// What could not be removed. Another run goes on from there.
pub async fn uninstall(
    docker: &Docker,
    options: &UninstallOptions,
    progress: &dyn Progress,
) -> Result<bool, InstallError> {
    swarm::check(docker).await?;
    let nodes = swarm::nodes(docker).await?;
    let ready: Vec<String> = nodes
        .iter()
        .filter(|node| plan::is_ready(node))
        .filter_map(|node| node.id.clone())
        .collect();
    let mut found = false;
    let mut left = Vec::new();
    let mut image = None;
    let mut kept_queue = false;

    for name in [GATEWAY_SERVICE, AGENT_SERVICE] {
        if name == AGENT_SERVICE {
            // Their invocations are ended by the agents.
            for service in swarm::services(docker, label::SANDBOX_OF).await? {
                found |= remove(docker, &service, progress).await?;
            }
        }
        let Some(service) = swarm::service(docker, name).await? else {
            continue;
        };
        let spec = service.spec.as_ref();
        if spec.and_then(|spec| spec.labels.as_ref()?.get(PART)).is_none() {
            continue;
        }
        image = image.or_else(|| {
            spec?
                .task_template
                .as_ref()?
                .container_spec
                .as_ref()?
                .image
                .clone()
        });
        found |= remove(docker, &service, progress).await?;
        let id = service.id.unwrap_or_default();
        progress.event(Event::Waiting {
            name: name.to_owned(),
            what: "its tasks to end what runs".to_owned(),
        });
        let tasks = wait::ended(docker, &id, &ready, options.patience).await?;
        progress.event(Event::Waited {
            name: name.to_owned(),
        });
        if !tasks.is_empty() {
            left.push(format!("{} tasks of {name} have not ended", tasks.len()));
        }
    }
    // Nobody is left who would ask them.
    for service in swarm::services(docker, &format!("{PART}=nats")).await? {
        found |= remove(docker, &service, progress).await?;
        let id = service.id.unwrap_or_default();
        let tasks = wait::ended(docker, &id, &ready, options.patience).await?;
        if !tasks.is_empty() {
            left.push(format!("{} servers of the queue have not ended", tasks.len()));
        }
        kept_queue = !options.data;
    }
    if kept_queue {
        progress.event(Event::Note {
            text: format!(
                "what was accepted and has not run stays in the volume {} of each node that had a server of the \
                 queue; --data removes it",
                spec::NATS_VOLUME
            ),
        });
    }
    if let Some(image) = image {
        left.extend(sweep(docker, &image, options, &nodes, progress).await?);
    }
    found |= remove_stored(docker, progress, &mut left).await?;
    found |= remove_network(docker, progress, &mut left).await?;
    for node in nodes.iter().filter(|node| !plan::is_ready(node)) {
        progress.event(Event::Note {
            text: format!(
                "{} does not answer: its engine removes the agent when it comes back; run this again then, for \
                 what Swarm keeps for it",
                plan::name(node)
            ),
        });
    }
    if left.is_empty() {
        Ok(found)
    } else {
        Err(InstallError::Left {
            what: left.join("; "),
        })
    }
}

async fn remove(docker: &Docker, service: &Service, progress: &dyn Progress) -> Result<bool, InstallError> {
    swarm::remove_service(docker, service.id.as_deref().unwrap_or_default()).await?;
    let name = service.spec.as_ref().and_then(|spec| spec.name.as_deref());
    removed(progress, "service", name.unwrap_or_default());
    Ok(true)
}

/// Looks once at every node: what a launcher that was killed left behind, and data where that is to go.
async fn sweep(
    docker: &Docker,
    image: &str,
    options: &UninstallOptions,
    nodes: &[Node],
    progress: &dyn Progress,
) -> Result<Vec<String>, InstallError> {
    let data = options.data.then_some(options.data_dir.as_str());
    let spec = spec::leave(image, data);
    let name = spec.name.clone().unwrap_or_default();
    if let Some(before) = swarm::service(docker, &name).await? {
        remove(docker, &before, progress).await?;
    }
    swarm::create(docker, spec).await?;
    progress.event(Event::Waiting {
        name: name.clone(),
        what: "each node to be looked at".to_owned(),
    });
    let service = swarm::service(docker, &name).await?.unwrap_or_default();
    let id = service.id.clone().unwrap_or_default();
    let expected = nodes.iter().filter(|node| plan::takes_tasks(node)).count();
    let began = Instant::now();
    let mut left = Vec::new();
    loop {
        let tasks = swarm::tasks(docker, &id).await?;
        let ended = tasks.iter().filter(|task| wait::has_ended(task)).count();
        if ended >= expected {
            if let Some(said) = wait::complaint(&tasks) {
                left.push(format!("a node could not be swept: {said}"));
            }
            break;
        }
        if began.elapsed() > options.patience {
            left.push(format!("{ended} of {expected} nodes were swept"));
            break;
        }
        sleep(LOOK).await;
    }
    progress.event(Event::Waited { name });
    swarm::remove_service(docker, &id).await?;
    Ok(left)
}

async fn remove_stored(
    docker: &Docker,
    progress: &dyn Progress,
    left: &mut Vec<String>,
) -> Result<bool, InstallError> {
    let mut found = false;
    for stored in material::secrets(docker)
        .await?
        .iter()
        .filter_map(material::of_secret)
    {
        match docker.delete_secret(&stored.id).await {
            Err(error) if !is(&error, 404) => left.push(format!("secret {}: {error}", stored.name)),
            _ => removed(progress, "secret", &stored.name),
        }
        found = true;
    }
    for stored in material::configs(docker, "").await? {
        match docker.delete_config(&stored.id).await {
            Err(error) if !is(&error, 404) => left.push(format!("config {}: {error}", stored.name)),
            _ => removed(progress, "config", &stored.name),
        }
        found = true;
    }
    Ok(found)
}

async fn remove_network(
    docker: &Docker,
    progress: &dyn Progress,
    left: &mut Vec<String>,
) -> Result<bool, InstallError> {
    let ours = match docker.inspect_network(NETWORK, None).await {
        Ok(network) => network.labels.is_some_and(|labels| labels.contains_key(PART)),
        Err(error) if is(&error, 404) => false,
        Err(error) => return Err(InstallError::engine("look at the network skep")(error)),
    };
    if !ours {
        return Ok(false);
    }
    let began = Instant::now();
    loop {
        match docker.remove_network(NETWORK).await {
            Err(error) if !is(&error, 404) => {
                if began.elapsed() > NETWORK_PATIENCE {
                    left.push(format!("network {NETWORK}: {error}"));
                    return Ok(true);
                }
            }
            _ => {
                removed(progress, "network", NETWORK);
                return Ok(true);
            }
        }
        sleep(LOOK).await;
    }
}
