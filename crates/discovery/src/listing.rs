//! The full list of containers that carry `skep.function`: cheap enough to ask for again and again, and enough to
//! tell which of them changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptions;
use skep_model::{Namespace, label};
use tokio::time::Instant;

/// One container of the list.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) id: Arc<str>,
    /// A digest of everything in the list that says something of the definition.
    pub(crate) fingerprint: u64,
}

/// The list, and when it was asked for.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) asked: Instant,
    pub(crate) containers: Vec<Listed>,
}

/// Asks for the list.
///
/// # Errors
/// The engine did not answer, or with an error.
pub(crate) async fn list(docker: Docker, namespace: Namespace) -> Result<Listing, Error> {
    let asked = Instant::now();
    let filters = HashMap::from([("label".to_owned(), vec![label::FUNCTION.to_owned()])]);
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters),
        ..Default::default()
    };
    let found = docker.list_containers(Some(options)).await?;
    let containers = found
        .into_iter()
        .filter(|container| may_be_ours(container, &namespace))
        .filter_map(|container| {
            let fingerprint = fingerprint(&container);
            Some(Listed {
                id: container.id?.into(),
                fingerprint,
            })
        })
        .collect();
    Ok(Listing { asked, containers })
}

/// False only where the list alone shows that the container is Skep's own work or another namespace's.
///
/// A namespace that the image carries too does not count and means `default`, which the list can't show; so the
/// Skep of `default` has to look closer at everything.
fn may_be_ours(container: &ContainerSummary, namespace: &Namespace) -> bool {
    let labels = container.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let ours = namespace.as_str();
    let default = Namespace::default();
    let claimed = label(label::NAMESPACE).unwrap_or(default.as_str());
    label(label::OWNER).is_none() && (claimed == ours || ours == default.as_str())
}

fn fingerprint(container: &ContainerSummary) -> u64 {
    let mut hasher = DefaultHasher::new();
    container.names.hash(&mut hasher);
    container.image_id.hash(&mut hasher);
    container.state.map(|state| state.to_string()).hash(&mut hasher);
    let mut labels: Vec<_> = container.labels.iter().flatten().collect();
    labels.sort_unstable();
    labels.hash(&mut hasher);
    let networks = container
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let mut networks: Vec<_> = networks
        .into_iter()
        .flatten()
        .map(|(name, endpoint)| {
            let address = endpoint
                .ipam_config
                .as_ref()
                .and_then(|ipam| ipam.ipv4_address.clone());
            (name, endpoint.aliases.clone(), address)
        })
        .collect();
    networks.sort_unstable();
    networks.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(labels: &[(&str, &str)]) -> ContainerSummary {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        ContainerSummary {
            labels: Some(labels),
            ..Default::default()
        }
    }

    #[test]
    fn another_namespace_is_not_looked_at() {
        let ours: Namespace = "ours".parse().unwrap();
        assert!(may_be_ours(&container(&[("skep.namespace", "ours")]), &ours));
        assert!(!may_be_ours(&container(&[("skep.namespace", "theirs")]), &ours));
        assert!(!may_be_ours(&container(&[]), &ours));
    }

    #[test]
    fn the_default_namespace_looks_closer_since_an_image_can_not_claim_one() {
        let default = Namespace::default();
        assert!(may_be_ours(&container(&[]), &default));
        assert!(may_be_ours(&container(&[("skep.namespace", "theirs")]), &default));
        assert!(!may_be_ours(&container(&[("skep.owner", "me")]), &default));
    }

    #[test]
    fn a_container_that_was_started_has_another_fingerprint() {
        use bollard::models::ContainerSummaryStateEnum::{CREATED, EXITED};
        let with = |state| ContainerSummary {
            state: Some(state),
            ..container(&[])
        };
        assert_eq!(fingerprint(&with(CREATED)), fingerprint(&with(CREATED)));
        assert_ne!(fingerprint(&with(CREATED)), fingerprint(&with(EXITED)));
    }
}
