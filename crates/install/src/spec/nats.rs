//! The services of the queue's servers: each on a node of its own, where its data is.

use std::collections::HashMap;

use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, Mount, MountType, NetworkAttachmentConfig, ServiceSpec,
    ServiceSpecMode, ServiceSpecModeReplicated, TaskSpec, TaskSpecContainerSpec, TaskSpecPlacement,
};

use super::{Material, NATS_VOLUME, Stored, restarted, sealed, secret};

/// Where a server's configuration and its keys are in its task.
const CONFIGURATION_FILE: &str = "/run/secrets/nats.conf";
const KEYS_FILE: &str = "/run/secrets/nats.pem";
/// The variable by which a server knows its name.
const NAME: &str = "SKEP_NATS_NAME";
/// Where it keeps its data.
const DATA: &str = "/data";
/// Where gateways find a server.
pub(crate) const CLIENT_PORT: u16 = 4222;
/// Where servers find each other.
const CLUSTER_PORT: u16 = 6222;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its service's name, which is its host's.
    pub(crate) name: String,
    /// The node where it is.
    pub(crate) node: String,
}

/// What all servers are told. One that is gone without a word is missed after seconds (the usual is minutes). Each
/// write is on the disk before it is answered; who has no certificate of the same
/// authority is not let in.
pub(crate) fn configuration(names: &[String]) -> String {
    let tls = format!(
        "tls {{ cert_file: {KEYS_FILE:?}, key_file: {KEYS_FILE:?}, ca_file: {KEYS_FILE:?}, verify: true, timeout: 5 }}"
    );
    let mut text = format!(
        "server_name: ${NAME}\nping_interval: \"5s\"\nping_max: 2\nlisten: \"0.0.0.0:{CLIENT_PORT}\"\n{tls}\n\
         jetstream {{ store_dir: {DATA:?}, max_memory_store: 64MB, sync_interval: always }}\n"
    );
    if names.len() > 1 {
        let routes: Vec<String> = names
            .iter()
            .map(|name| format!("\"tls://{name}:{CLUSTER_PORT}\""))
            .collect();
        text += &format!(
            "cluster {{\n  name: skep\n  listen: \"0.0.0.0:{CLUSTER_PORT}\"\n  routes: [{}]\n  {tls}\n}}\n",
            routes.join(", ")
        );
    }
    text
}

pub(crate) fn nats(
    server: &Server,
    image: &(String, String),
    material: &Material,
    configuration: &Stored,
    keys: &Stored,
) -> ServiceSpec {
    let container = TaskSpecContainerSpec {
        image: Some(image.0.clone()),
        labels: Some(HashMap::from([("skep.image".to_owned(), image.1.clone())])),
        hostname: Some(server.name.clone()),
        command: Some(vec!["nats-server".to_owned()]),
        args: Some(vec!["-c".to_owned(), CONFIGURATION_FILE.to_owned()]),
        env: Some(vec![format!("{NAME}={}", server.name)]),
        mounts: Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            source: Some(NATS_VOLUME.to_owned()),
            target: Some(DATA.to_owned()),
            ..Mount::default()
        }]),
        secrets: Some(vec![
            secret(configuration, CONFIGURATION_FILE),
            secret(keys, KEYS_FILE),
        ]),
        ..TaskSpecContainerSpec::default()
    };
    let spec = ServiceSpec {
        name: Some(server.name.clone()),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
            ..ServiceSpecMode::default()
        }),
        task_template: Some(TaskSpec {
            container_spec: Some(container),
            placement: Some(TaskSpecPlacement {
                constraints: Some(vec![on_node(&server.node)]),
                ..TaskSpecPlacement::default()
            }),
            restart_policy: Some(restarted()),
            networks: Some(vec![NetworkAttachmentConfig {
                target: Some(material.network.clone()),
                ..NetworkAttachmentConfig::default()
            }]),
            ..TaskSpec::default()
        }),
        endpoint_spec: Some(EndpointSpec {
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: None,
        }),
        ..ServiceSpec::default()
    };
    sealed(spec, "nats")
}

/// The constraint that keeps a server where its data is.
fn on_node(node: &str) -> String {
    format!("node.id=={node}")
}

/// The node to which a service is kept, where it is kept to one.
pub(crate) fn node_of(spec: &ServiceSpec) -> Option<String> {
    let placement = spec.task_template.as_ref()?.placement.as_ref()?;
    let constraints = placement.constraints.as_ref()?;
    constraints
        .iter()
        .find_map(|constraint| constraint.strip_prefix("node.id==").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_has_nobody_to_talk_to_and_three_know_each_other() {
        let one = configuration(&["skep-nats-1".to_owned()]);
        assert!(!one.contains("cluster"), "{one}");
        assert!(one.contains("sync_interval: always"), "{one}");
        assert!(one.contains("verify: true"), "{one}");
        let names: Vec<String> = (1..=3).map(|number| format!("skep-nats-{number}")).collect();
        let three = configuration(&names);
        for name in names {
            assert!(three.contains(&format!("tls://{name}:6222")), "{three}");
        }
    }
}
