//! What refers to what: profiles, networks, volumes, dependencies.

use super::fields::Context;
use super::top::Documents;
use crate::problem::Problem;
use crate::project::{Condition, Mount, Network, Project, Service, ServiceNetwork};
use std::collections::{BTreeMap, BTreeSet};

/// Completes `project` from what the file holds, leaving out services whose
/// profiles are not active, and refuses dangling references.
pub(crate) fn check(
    context: &Context<'_>,
    documents: Documents,
    profiles: &BTreeSet<String>,
    project: &mut Project,
) {
    let mut networks = documents.networks;
    let mut volumes = documents.volumes;
    networks
        .entry(String::from("default"))
        .or_insert_with(|| Network {
            name: format!("{}_default", project.name),
            ..Network::default()
        });
    let declared: BTreeSet<String> = documents.services.keys().cloned().collect();
    for (name, (mut service, belongs)) in documents.services {
        let active = belongs.is_empty()
            || profiles.contains("*")
            || belongs.iter().any(|profile| profiles.contains(profile));
        if service.networks.is_empty() && service.network_mode.is_none() {
            service.networks.push(ServiceNetwork {
                network: String::from("default"),
                ..ServiceNetwork::default()
            });
        }
        check_names(context, &service, &networks, &volumes, &declared);
        if active {
            project.services.insert(name, service);
        } else {
            project.disabled.insert(name);
        }
    }
    check_dependencies(context, project);
    check_functions(context, &project.services);
    let used_networks: BTreeSet<&str> = project
        .services
        .values()
        .flat_map(|service| service.networks.iter())
        .map(|network| network.network.as_str())
        .collect();
    networks.retain(|key, _| used_networks.contains(key.as_str()));
    let used_volumes: BTreeSet<&str> = project.services.values().flat_map(named_volumes).collect();
    volumes.retain(|key, _| used_volumes.contains(key.as_str()));
    project.networks = networks;
    project.volumes = volumes;
}

fn named_volumes(service: &Service) -> impl Iterator<Item = &str> {
    service.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume { source, .. } => source.as_deref(),
        _ => None,
    })
}

fn check_names(
    context: &Context<'_>,
    service: &Service,
    networks: &BTreeMap<String, Network>,
    volumes: &BTreeMap<String, crate::project::Volume>,
    services: &BTreeSet<String>,
) {
    let refuse = |key: &str, message: String, hint: String| {
        context.refuse(
            Problem::new(message)
                .at(
                    service.position_of(key),
                    format!("services.{}.{key}", service.name),
                )
                .hint(hint),
        );
    };
    for network in &service.networks {
        if !networks.contains_key(&network.network) {
            let name = &network.network;
            refuse(
                "networks",
                format!("the network {name} is not among the file's networks"),
                format!("add {name}: under networks at the top level"),
            );
        }
    }
    for volume in named_volumes(service) {
        if !volumes.contains_key(volume) {
            refuse(
                "volumes",
                format!("the volume {volume} is not among the file's volumes"),
                format!("add {volume}: under volumes at the top level, or write ./{volume} for a directory"),
            );
        }
    }
    for (name, dependency) in &service.depends_on {
        if !services.contains(name) && dependency.required {
            refuse(
                "depends_on",
                format!("there is no service {name}"),
                format!("add {name}, or set required: false"),
            );
        }
    }
    if let Some(other) = service
        .network_mode
        .as_deref()
        .and_then(|mode| mode.strip_prefix("service:"))
        && !services.contains(other)
    {
        refuse(
            "network_mode",
            format!("there is no service {other}"),
            format!("add {other}, or choose another network"),
        );
    }
}

/// Dependencies on what is not active or can never be met, and circles.
fn check_dependencies(context: &Context<'_>, project: &mut Project) {
    let functions: BTreeSet<String> = project
        .services
        .values()
        .filter(|service| service.function.is_some())
        .map(|service| service.name.clone())
        .collect();
    for service in project.services.values_mut() {
        let key = format!("services.{}.depends_on", service.name);
        if let Some(other) = service
            .network_mode
            .as_deref()
            .and_then(|mode| mode.strip_prefix("service:"))
        {
            let implied = crate::project::Dependency {
                condition: Condition::Started,
                restart: true,
                required: true,
            };
            service.depends_on.entry(other.to_owned()).or_insert(implied);
        }
        let position = service.position_of("depends_on").clone();
        service.depends_on.retain(|name, dependency| {
            if project.disabled.contains(name) && dependency.required {
                context.refuse(
                    Problem::new(format!("{name} is left out by its profiles"))
                        .at(&position, &key)
                        .hint("activate one of its profiles with --profile, or set required: false"),
                );
            }
            if functions.contains(name) && dependency.condition != Condition::Started {
                context.refuse(
                    Problem::new(format!(
                        "{name} is a function: it is never {}",
                        if dependency.condition == Condition::Healthy {
                            "healthy, only ready when called"
                        } else {
                            "completed, since it runs whenever it is called"
                        }
                    ))
                    .at(&position, &key)
                    .hint("depend on it without a condition: then it is parked first"),
                );
            }
            dependency.required || !project.disabled.contains(name)
        });
    }
    let names: Vec<String> = project.services.keys().cloned().collect();
    let mut settled = BTreeSet::new();
    for name in names {
        let mut trail = Vec::new();
        if let Some(circle) = circle(&project.services, &name, &mut trail, &mut settled) {
            let position = project.services[&name].position_of("depends_on");
            context.refuse(
                Problem::new(format!(
                    "the services wait for each other: {}",
                    circle.join(" → ")
                ))
                .at(position, format!("services.{name}.depends_on"))
                .hint("remove one of these dependencies"),
            );
            return;
        }
    }
}

fn circle(
    services: &BTreeMap<String, Service>,
    name: &str,
    trail: &mut Vec<String>,
    settled: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if settled.contains(name) {
        return None;
    }
    if let Some(start) = trail.iter().position(|seen| seen == name) {
        let mut circle = trail[start..].to_vec();
        circle.push(name.to_owned());
        return Some(circle);
    }
    trail.push(name.to_owned());
    for dependency in services.get(name)?.depends_on.keys() {
        if let Some(found) = circle(services, dependency, trail, settled) {
            return Some(found);
        }
    }
    trail.pop();
    settled.insert(name.to_owned());
    None
}

/// Two services may not claim one function.
fn check_functions(context: &Context<'_>, services: &BTreeMap<String, Service>) {
    let mut seen: BTreeMap<(&str, &str), &Service> = BTreeMap::new();
    for service in services.values() {
        let Some(function) = &service.function else {
            continue;
        };
        let namespace = service.labels.get("skep.namespace").map_or("", String::as_str);
        if let Some(first) = seen.insert((namespace, function), service) {
            context.refuse(
                Problem::new(format!("{} is the function {function} already", first.name))
                    .at(
                        service.position_of("labels"),
                        format!("services.{}.labels", service.name),
                    )
                    .hint("give each function a name of its own"),
            );
        }
    }
}
