//! A template as Skep reads it, made from an inspection.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use jiff::Timestamp;
use skep_model::{Revision, Template, TemplateId};

use crate::compact;
use crate::revision::revision;

/// Makes a template from what the engine says about a container; image labels and presence are filled in later.
pub fn template(inspect: ContainerInspectResponse) -> (Template, Revision) {
    let definition = compact::definition(&inspect);
    let revision = revision(&definition);
    let config = inspect.config.unwrap_or_default();
    let host = inspect.host_config.unwrap_or_default();
    let networks = inspect
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default();
    let state = inspect.state.unwrap_or_default();
    let started_at = state.started_at.unwrap_or_default();
    // Go's zero time stands for "never". One that is just being removed is no template either, but that is told by
    // its end: a prune on its way must not make it look like one that was started, which is never put back.
    let ever_started = !(started_at.is_empty() || started_at.starts_with("0001-01-01"))
        || !matches!(
            state.status,
            None | Some(ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::REMOVING)
        );
    let ports = host.port_bindings.is_some_and(|ports| !ports.is_empty());
    let fixed_address = networks
        .values()
        .filter_map(|endpoint| endpoint.ipam_config.as_ref())
        .any(|ipam| {
            let given = |address: &Option<String>| address.as_deref().is_some_and(|text| !text.is_empty());
            given(&ipam.ipv4_address) || given(&ipam.ipv6_address)
        });
    let mut names: Vec<String> = networks.into_keys().collect();
    names.sort_unstable();
    let template = Template {
        id: TemplateId(inspect.id.unwrap_or_default().into()),
        name: inspect
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        created: inspect
            .created
            .and_then(|time| time.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        image_labels: BTreeMap::new(),
        image_id: inspect.image.unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        image_present: true,
        ever_started,
        publishes_ports: ports || host.publish_all_ports == Some(true),
        tty: config.tty == Some(true),
        exposed_tcp: exposed_tcp(config.exposed_ports.as_deref().unwrap_or_default()),
        port_variable: config
            .env
            .iter()
            .flatten()
            .find_map(|variable| variable.strip_prefix("PORT=").map(str::to_owned)),
        fixed_address,
        network_mode: host.network_mode.unwrap_or_default(),
        networks: names,
        memory: host
            .memory
            .and_then(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| *bytes > 0),
        copied: None,
        inspect: Arc::from(definition.to_string()),
    };
    (template, revision)
}

/// The TCP ports among `80/tcp`, `53/udp`, `8000-8010/tcp`, `80` (which means TCP).
fn exposed_tcp(ports: &[String]) -> Vec<u16> {
    let ranges = ports.iter().filter_map(|port| match port.split_once('/') {
        Some((range, "tcp")) => Some(range),
        Some(_) => None,
        None => Some(port.as_str()),
    });
    let read = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    let mut found: Vec<u16> = ranges.filter_map(read).flatten().collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{ContainerConfig, ContainerState, HostConfig};

    fn created(state: ContainerState) -> ContainerInspectResponse {
        ContainerInspectResponse {
            id: Some("0123456789abcdef".to_owned()),
            name: Some("/hello".to_owned()),
            created: Some("2026-01-02T03:04:05.123456789Z".to_owned()),
            state: Some(state),
            ..Default::default()
        }
    }

    fn never_started() -> ContainerState {
        ContainerState {
            status: Some(ContainerStateStatusEnum::CREATED),
            started_at: Some("0001-01-01T00:00:00Z".to_owned()),
            ..Default::default()
        }
    }

    #[test]
    fn a_parked_container_was_never_started() {
        let (template, _) = template(created(never_started()));
        assert!(!template.ever_started);
        assert_eq!(template.name, "hello");
        assert_eq!(template.created.subsec_nanosecond(), 123_456_789);
    }

    #[test]
    fn a_container_that_ran_once_was_started() {
        let mut state = never_started();
        state.status = Some(ContainerStateStatusEnum::EXITED);
        assert!(template(created(state)).0.ever_started);
        let mut state = never_started();
        state.started_at = Some("2026-01-02T03:04:06Z".to_owned());
        assert!(template(created(state)).0.ever_started);
    }

    #[test]
    fn a_parked_container_that_is_being_removed_was_never_started() {
        let mut state = never_started();
        state.status = Some(ContainerStateStatusEnum::REMOVING);
        assert!(!template(created(state)).0.ever_started);
    }

    #[test]
    fn ports_are_read_from_every_way_of_writing_them() {
        let ports = ["8001-8003/tcp", "53/udp", "80", "80/tcp"].map(str::to_owned);
        assert_eq!(exposed_tcp(&ports), [80, 8001, 8002, 8003]);
        assert!(exposed_tcp(&["9-x/tcp".to_owned()]).is_empty());
    }

    #[test]
    fn the_port_variable_and_published_ports_are_seen() {
        let mut inspect = created(never_started());
        inspect.config = Some(ContainerConfig {
            env: Some(vec!["PORT=99".to_owned()]),
            ..Default::default()
        });
        inspect.host_config = Some(HostConfig {
            publish_all_ports: Some(true),
            ..Default::default()
        });
        let (template, _) = template(inspect);
        assert_eq!(template.port_variable.as_deref(), Some("99"));
        assert!(template.publishes_ports);
    }
}
