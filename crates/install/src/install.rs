//! Onto the Swarm, and up to date.

use bollard::Docker;
use bollard::models::{Node, ServiceSpec};
use skep_deploy::{Event, Progress, accounts};
use skep_wire::{AGENT_SERVICE, GATEWAY_SERVICE};

use crate::error::InstallError;
use crate::material;
use crate::nats;
use crate::options::{Gateways, Options};
use crate::plan::{self, Change};
use crate::spec::{self, DIGEST};
use crate::swarm;
use crate::wait;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The services that were made or updated.
    pub changed: Vec<String>,
    /// The nodes that run agents.
    pub agents: Vec<String>,
    /// The addresses of the nodes that run gateways.
    pub gateways: Vec<String>,
}

/// Brings the Swarm to what the options say, and waits until everything runs.
///
/// # Errors
/// What stands in the way. What was done until then stays; another run goes on from there.
pub async fn install(
    docker: &Docker,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Installed, InstallError> {
    swarm::check(docker).await?;
    let nodes = swarm::nodes(docker).await?;
    if let Some(why) = plan::no_gateway(&nodes, &options.constraints) {
        return Err(InstallError::NoGateway { why });
    }
    let pulling = if options.registry_auth {
        let folder = options.docker_config.as_deref();
        accounts::for_image(docker.clone(), folder, &options.image, progress).await
    } else {
        docker.clone()
    };
    let mut material = material::gather(&pulling, options, progress).await?;
    let servers = nats::plan(&pulling, options, &nodes, progress).await?;
    material.queue = match &servers {
        Some(servers) => Some(servers.queue.clone()),
        None => nats::elsewhere(docker, options, progress).await?,
    };

    let mut installed = Installed {
        changed: Vec::new(),
        agents: named(&nodes, plan::takes_tasks),
        gateways: Vec::new(),
    };
    // The queue and the agents first: a new gateway is of use only where both are.
    if let Some(servers) = &servers {
        let changed = nats::install(&pulling, servers, &material, options.patience, progress).await?;
        installed.changed.extend(changed);
    }
    let agents = installed.agents.len();
    let wanted = [
        (AGENT_SERVICE, spec::agent(options, &material), agents),
        (
            GATEWAY_SERVICE,
            spec::gateway(options, &material),
            gateways(options, &nodes),
        ),
    ];
    for (name, spec, expected) in wanted {
        if bring(&pulling, name, &spec, progress).await? {
            installed.changed.push(name.to_owned());
        }
        let digest = spec.labels.as_ref().and_then(|labels| labels.get(DIGEST));
        let digest = digest.map(String::as_str).unwrap_or_default();
        wait::running(docker, name, digest, expected, options.patience, progress).await?;
    }
    nats::remove_others(docker, servers.as_ref(), progress).await?;
    let more: Vec<_> = servers.iter().flat_map(nats::Planned::secrets).collect();
    material::tidy(docker, &material, &more, progress).await?;
    nats::say(options, servers.as_ref(), progress);
    installed.gateways = gateway_addresses(docker, &nodes).await?;
    Ok(installed)
}

/// How many gateways are waited for.
fn gateways(options: &Options, nodes: &[Node]) -> usize {
    match options.gateways {
        Gateways::Count(count) => usize::try_from(count).unwrap_or(1),
        Gateways::All => plan::places(nodes, &options.constraints),
    }
}

/// Whether something was to be done about it.
pub(crate) async fn bring(
    docker: &Docker,
    name: &str,
    spec: &ServiceSpec,
    progress: &dyn Progress,
) -> Result<bool, InstallError> {
    let there = swarm::service(docker, name).await?;
    match (plan::change(there.as_ref(), spec), there) {
        (Change::Update, Some(there)) => {
            progress.event(Event::Note {
                text: format!("updating {name}, one node at a time"),
            });
            swarm::update(docker, &there, spec.clone()).await?;
            Ok(true)
        }
        (Change::Keep, _) => {
            progress.event(Event::Note {
                text: format!("{name} is as it should be"),
            });
            Ok(false)
        }
        (Change::Taken, _) => Err(InstallError::Taken {
            kind: "service",
            name: name.to_owned(),
        }),
        (Change::Create | Change::Update, _) => {
            swarm::create(docker, spec.clone()).await?;
            material::created(progress, "service", name);
            Ok(true)
        }
    }
}

fn named(nodes: &[Node], which: impl Fn(&Node) -> bool) -> Vec<String> {
    let mut names: Vec<_> = nodes.iter().filter(|node| which(node)).map(plan::name).collect();
    names.sort();
    names
}

async fn gateway_addresses(docker: &Docker, nodes: &[Node]) -> Result<Vec<String>, InstallError> {
    let service = swarm::service(docker, GATEWAY_SERVICE).await?;
    let id = service.and_then(|service| service.id).unwrap_or_default();
    let tasks = swarm::tasks(docker, &id).await?;
    let running = |node: &&Node| {
        tasks.iter().any(|task| {
            task.node_id == node.id && wait::state(task) == Some(bollard::models::TaskState::RUNNING)
        })
    };
    let address = |node: &Node| node.status.as_ref()?.addr.clone();
    let mut addresses: Vec<_> = nodes.iter().filter(running).filter_map(address).collect();
    addresses.sort();
    Ok(addresses)
}
