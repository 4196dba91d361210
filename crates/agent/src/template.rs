//! A running sandbox, read as the template of its function: its command put back, its limits divided, its labels
//! those of the function's service.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::{ContainerInspectResponse, HostConfig, MountPoint, MountType};
use serde_json::json;
use skep_model::{Function, PortChoice, Revision, SandboxChoice, Template};
use skep_wire::{Definition, label};

use crate::given::Given;
use crate::share;

/// Labels that say what the container is to Swarm; an instance is none of that.
const SWARMS: [&str; 3] = ["com.docker.swarm.", "com.docker.stack.", "skep."];
/// Where `pause` stands in a sandbox.
pub(crate) const PAUSE: &str = "/.skep-pause";

/// Why a container with the labels of a sandbox is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it has no label {}", label::DEFINITION)]
    NoDefinition,
    #[error("its label {label} can't be read: {0}", label = label::DEFINITION)]
    Definition(#[from] serde_json::Error),
    #[error("Swarm does not say which of its service's tasks it is")]
    NoNumber,
    #[error("its function is not valid: {}", .0.join("; "))]
    Function(Vec<String>),
}

/// The command of an image, for what the service leaves to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageCommand {
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) arguments: Option<Vec<String>>,
}

/// A secret or config of a task: what the agent copied it to, and where Docker itself has it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) file: Given,
    pub(crate) copy: String,
    pub(crate) dockers: String,
}

/// A sandbox, understood.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) definition: Definition,
    pub(crate) function: Function,
    /// The task's share of `skep.max`.
    pub(crate) slots: u32,
    /// Whether instances can't stand side by side in it.
    pub(crate) alone: bool,
    /// Swarm's id of the task.
    pub(crate) task: String,
}

/// The definition that a container carries.
pub(crate) fn definition(inspect: &ContainerInspectResponse) -> Result<Definition, Unreadable> {
    let labels = inspect.config.as_ref().and_then(|config| config.labels.as_ref());
    let text = labels.and_then(|labels| labels.get(label::DEFINITION));
    Ok(serde_json::from_str(text.ok_or(Unreadable::NoDefinition)?)?)
}

/// Reads a sandbox from what Docker says of it.
pub(crate) fn read(
    mut inspect: ContainerInspectResponse,
    image: &ImageCommand,
    files: &[Shown],
) -> Result<Read, Unreadable> {
    let definition = definition(&inspect)?;
    let labels = inspect.config.as_ref().and_then(|config| config.labels.clone());
    let labels = labels.unwrap_or_default();
    let swarms = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    let number = share::number(swarms("com.docker.swarm.task.name")).ok_or(Unreadable::NoNumber)?;
    let task = swarms("com.docker.swarm.task.id").to_owned();
    let alone = listens(inspect.host_config.as_ref());
    put_back(&mut inspect, &definition, image);
    show(&mut inspect, files);
    let (exposing, _) = skep_discovery::template(inspect.clone());
    // Docker refuses them where a container is in the network of another.
    if let Some(config) = &mut inspect.config {
        config.exposed_ports = None;
    }
    let (template, _) = skep_discovery::template(inspect);
    let template = Template {
        name: definition.service_name.clone(),
        created: definition.created,
        labels: definition.labels.clone(),
        exposed_tcp: exposing.exposed_tcp,
        memory: definition.memory,
        ..template
    };
    let revision: Revision = serde_json::from_value(json!(definition.revision))?;
    let mut function = Function::from_template(Arc::new(template), revision).map_err(Unreadable::Function)?;
    let settings = &mut function.settings;
    let mut slots = share::share(settings.max, definition.slots, number);
    let fixed = matches!(settings.port, PortChoice::Fixed(_));
    let alone = alone || fixed || settings.sandbox == SandboxChoice::Private;
    if alone {
        slots = slots.min(1);
    }
    settings.spares = share::share(settings.spares, definition.slots, number).min(slots);
    settings.max = slots.max(1);
    // What only this sandbox can be made for is made as soon as it is there.
    settings.sandboxes = 1;
    Ok(Read {
        definition,
        function,
        slots,
        alone,
        task,
    })
}

/// Whether an instance could read the traffic of others beside it.
fn listens(host: Option<&HostConfig>) -> bool {
    let added = host.and_then(|host| host.cap_add.as_ref()).into_iter().flatten();
    let mut names = added.map(|name| name.trim_start_matches("CAP_"));
    names.any(|name| {
        ["NET_RAW", "ALL"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// What `pause`, Swarm and the number of slots changed, as the function's service has it.
fn put_back(inspect: &mut ContainerInspectResponse, definition: &Definition, image: &ImageCommand) {
    let container = inspect.id.clone().unwrap_or_default();
    inspect.state = None;
    if let Some(config) = &mut inspect.config {
        (config.entrypoint, config.cmd) = command(definition, image);
        config.healthcheck = None;
        if let Some(labels) = &mut config.labels {
            labels.retain(|key, _| !SWARMS.iter().any(|prefix| key.starts_with(prefix)));
        }
    }
    if let Some(host) = &mut inspect.host_config {
        divide(host, definition);
        // The sandbox is the container itself; what its network has is not said again.
        host.network_mode = match host.network_mode.as_deref() {
            Some("none") => host.network_mode.take(),
            _ => Some(format!("container:{container}")),
        };
        host.init = definition.init;
        host.dns = None;
        host.dns_options = None;
        host.dns_search = None;
        host.extra_hosts = None;
        host.links = None;
        host.port_bindings = None;
        host.publish_all_ports = None;
    }
    let networks = inspect
        .network_settings
        .as_mut()
        .and_then(|settings| settings.networks.as_mut());
    for endpoint in networks.into_iter().flat_map(HashMap::values_mut) {
        // Swarm's choice, not the function's.
        endpoint.ipam_config = None;
        endpoint.links = None;
    }
    if let Some(mounts) = &mut inspect.mounts {
        mounts.retain(|mount| mount.destination.as_deref() != Some(PAUSE));
    }
}

/// As Docker puts a container's command together with its image's.
fn command(definition: &Definition, image: &ImageCommand) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let own = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    match own(&definition.entrypoint) {
        Some(entrypoint) => (Some(entrypoint), own(&definition.arguments)),
        None => (
            image.entrypoint.clone(),
            own(&definition.arguments).or_else(|| image.arguments.clone()),
        ),
    }
}

fn divide(host: &mut HostConfig, definition: &Definition) {
    let number = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
    let whole = host.memory.filter(|bytes| *bytes > 0);
    let memory = number(definition.memory);
    host.memory_swap = match (host.memory_swap, whole, memory) {
        (Some(swap), Some(whole), Some(memory)) if swap > 0 => {
            let part = i128::from(swap) * i128::from(memory) / i128::from(whole);
            i64::try_from(part).ok()
        }
        (swap, _, _) => swap.filter(|swap| *swap < 0),
    };
    host.memory = memory;
    host.memory_reservation = None;
    host.nano_cpus = number(definition.nano_cpus);
    host.pids_limit = number(definition.pids);
}

/// Adds secrets and configs: in the list of what is mounted for the engine that reads that, and in what is asked of
/// Docker for the other.
fn show(inspect: &mut ContainerInspectResponse, files: &[Shown]) {
    if files.is_empty() {
        return;
    }
    let mounts = inspect.mounts.get_or_insert_default();
    mounts.extend(files.iter().map(|shown| MountPoint {
        typ: Some("bind".to_owned()),
        source: Some(shown.copy.clone()),
        destination: Some(shown.file.target.clone()),
        mode: Some("ro".to_owned()),
        rw: Some(false),
        propagation: Some("rprivate".to_owned()),
        ..MountPoint::default()
    }));
    let host = inspect.host_config.get_or_insert_default();
    let mounts = host.mounts.get_or_insert_default();
    mounts.extend(files.iter().map(|shown| bollard::models::Mount {
        typ: Some(MountType::BIND),
        source: Some(shown.dockers.clone()),
        target: Some(shown.file.target.clone()),
        read_only: Some(true),
        ..bollard::models::Mount::default()
    }));
}

#[cfg(test)]
mod tests;
