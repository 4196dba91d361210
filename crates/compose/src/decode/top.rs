//! The top level of the file.

use super::fields::{Context, Fields, named};
use super::files;
use super::networks;
use super::service::{Known, service};
use crate::problem::Problem;
use crate::project::{Network, Service, Volume};
use crate::yaml::Node;
use std::collections::BTreeMap;

/// Everything a file holds, before profiles and cross-references.
pub(crate) struct Documents {
    pub(crate) services: BTreeMap<String, (Service, Vec<String>)>,
    pub(crate) networks: BTreeMap<String, Network>,
    pub(crate) volumes: BTreeMap<String, Volume>,
}

/// Decodes the whole tree for the project called `name`.
pub(crate) fn decode(context: &Context<'_>, root: &Node, name: &str) -> Option<Documents> {
    let fields = Fields::open(context, root, "")?;
    fields.noted(&["version"], "Compose no longer reads it");
    // Read before, since everything else is named after it.
    let _ = fields.text("name");
    let mut known = Known::default();
    if let Some((node, path)) = fields.take("secrets") {
        for (entry, path) in named(context, node, &path) {
            let object = files::object(context, entry, &path);
            known.secrets.insert(entry.key.clone(), object);
        }
    }
    if let Some((node, path)) = fields.take("configs") {
        for (entry, path) in named(context, node, &path) {
            let object = files::object(context, entry, &path);
            known.configs.insert(entry.key.clone(), object);
        }
    }
    let mut networks = BTreeMap::new();
    if let Some((node, path)) = fields.take("networks") {
        for (entry, path) in named(context, node, &path) {
            let network = networks::network(context, entry, &path, name);
            networks.insert(entry.key.clone(), network);
        }
    }
    let mut volumes = BTreeMap::new();
    if let Some((node, path)) = fields.take("volumes") {
        for (entry, path) in named(context, node, &path) {
            let volume = networks::volume(context, entry, &path, name);
            volumes.insert(entry.key.clone(), volume);
        }
    }
    let mut services = BTreeMap::new();
    match fields.take("services") {
        Some((node, path)) => {
            for (entry, path) in named(context, node, &path) {
                if !is_service_name(&entry.key) {
                    context.refuse(
                        Problem::new("a service's name is made of letters, digits, _, . and -")
                            .at(&entry.position, &path),
                    );
                }
                if let Some(decoded) = service(context, entry, &path, &known) {
                    services.insert(entry.key.clone(), decoded);
                }
            }
        }
        None => context.refuse(
            Problem::new("there are no services")
                .at(&root.position, "services")
                .hint("a Compose file has services: with a name and an image each"),
        ),
    }
    fields.finish();
    Some(Documents {
        services,
        networks,
        volumes,
    })
}

fn is_service_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-'))
}
