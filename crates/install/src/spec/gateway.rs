//! The service of the gateways.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    EndpointPortConfig, EndpointPortConfigProtocolEnum, EndpointPortConfigPublishModeEnum, EndpointSpec,
    EndpointSpecModeEnum, Mount, MountType, NetworkAttachmentConfig, ServiceSpec, ServiceSpecMode,
    ServiceSpecModeReplicated, ServiceSpecUpdateConfig, ServiceSpecUpdateConfigFailureActionEnum,
    ServiceSpecUpdateConfigOrderEnum, TaskSpec, TaskSpecContainerSpec, TaskSpecPlacement,
};
use skep_wire::{GATEWAY_SERVICE, GATEWAYS_ALIAS, KEYS_FILE, QUEUE_FILE, REGISTRIES_FILE, variable};

use super::{
    GATEWAY_HEALTH, GATEWAY_START, GATEWAY_VOLUME, Material, SOCKET, bind, grace, health, nanoseconds, place,
    restarted, sealed, seconds, secret,
};
use crate::options::{Gateways, Options, Publish};

/// The port in a gateway's container.
pub(crate) const LISTEN_PORT: u16 = 8080;
/// Only managers can be asked about services.
pub(crate) const ON_MANAGERS: &str = "node.role==manager";

pub(crate) fn gateway(options: &Options, material: &Material) -> ServiceSpec {
    let replicated = match options.gateways {
        Gateways::All => None,
        Gateways::Count(count) => Some(ServiceSpecModeReplicated {
            replicas: Some(count.into()),
        }),
    };
    let spec = ServiceSpec {
        name: Some(GATEWAY_SERVICE.to_owned()),
        mode: Some(ServiceSpecMode {
            global: replicated.is_none().then(HashMap::new),
            replicated,
            ..ServiceSpecMode::default()
        }),
        task_template: Some(TaskSpec {
            container_spec: Some(container(options, material)),
            placement: Some(TaskSpecPlacement {
                constraints: Some(constraints(options)),
                max_replicas: matches!(options.gateways, Gateways::Count(_)).then_some(1),
                ..TaskSpecPlacement::default()
            }),
            restart_policy: Some(restarted()),
            networks: Some(vec![NetworkAttachmentConfig {
                target: Some(material.network.clone()),
                // By which agents find gateways.
                aliases: Some(vec![GATEWAYS_ALIAS.to_owned()]),
                ..NetworkAttachmentConfig::default()
            }]),
            ..TaskSpec::default()
        }),
        endpoint_spec: Some(endpoint(options)),
        update_config: Some(ServiceSpecUpdateConfig {
            parallelism: Some(1),
            order: Some(order(options)),
            failure_action: Some(ServiceSpecUpdateConfigFailureActionEnum::ROLLBACK),
            monitor: Some(nanoseconds(Duration::from_secs(5))),
            ..ServiceSpecUpdateConfig::default()
        }),
        ..ServiceSpec::default()
    };
    sealed(spec, "gateway")
}

pub(crate) fn constraints(options: &Options) -> Vec<String> {
    let mut constraints = vec![ON_MANAGERS.to_owned()];
    constraints.extend(options.constraints.iter().cloned());
    constraints
}

/// Two can't have one port of one node: there the old one goes first, one node at a time.
fn order(options: &Options) -> ServiceSpecUpdateConfigOrderEnum {
    match options.publish {
        Publish::Host => ServiceSpecUpdateConfigOrderEnum::STOP_FIRST,
        Publish::Ingress => ServiceSpecUpdateConfigOrderEnum::START_FIRST,
    }
}

fn endpoint(options: &Options) -> EndpointSpec {
    let (mode, publish) = match options.publish {
        // Without virtual addresses, which not every kernel can do.
        Publish::Host => (
            EndpointSpecModeEnum::DNSRR,
            EndpointPortConfigPublishModeEnum::HOST,
        ),
        Publish::Ingress => (
            EndpointSpecModeEnum::VIP,
            EndpointPortConfigPublishModeEnum::INGRESS,
        ),
    };
    EndpointSpec {
        mode: Some(mode),
        ports: Some(vec![EndpointPortConfig {
            protocol: Some(EndpointPortConfigProtocolEnum::TCP),
            target_port: Some(LISTEN_PORT.into()),
            published_port: Some(options.port.into()),
            publish_mode: Some(publish),
            ..EndpointPortConfig::default()
        }]),
    }
}

pub(crate) fn environment(options: &Options) -> Vec<String> {
    let mut environment = vec![
        format!("SKEP_LISTEN=0.0.0.0:{LISTEN_PORT}"),
        format!("SKEP_NAMESPACE={}", options.namespace),
        format!("SKEP_DRAIN_TIMEOUT={}", seconds(options.drain)),
    ];
    environment.extend(place());
    environment.extend(options.environment.iter().cloned());
    environment
}

fn container(options: &Options, material: &Material) -> TaskSpecContainerSpec {
    let mut environment = environment(options);
    environment.push(format!("{}={}", variable::PAUSE_CONFIG, material.pause.name));
    let mut secrets = vec![secret(&material.gateway_keys, KEYS_FILE)];
    secrets.extend(
        material
            .registries
            .iter()
            .map(|stored| secret(stored, REGISTRIES_FILE)),
    );
    secrets.extend(material.queue.iter().map(|stored| secret(stored, QUEUE_FILE)));
    TaskSpecContainerSpec {
        image: Some(material.image.clone()),
        labels: Some(HashMap::from([(
            "skep.image".to_owned(),
            material.image_id.clone(),
        )])),
        args: Some(vec!["gateway".to_owned()]),
        env: Some(environment),
        mounts: Some(vec![
            bind(SOCKET),
            Mount {
                typ: Some(MountType::VOLUME),
                source: Some(GATEWAY_VOLUME.to_owned()),
                target: Some("/var/lib/skep".to_owned()),
                ..Mount::default()
            },
        ]),
        secrets: Some(secrets),
        health_check: Some(health(&GATEWAY_HEALTH, GATEWAY_START)),
        stop_grace_period: Some(grace(options.drain)),
        ..TaskSpecContainerSpec::default()
    }
}
