//! The service whose tasks keep the agents.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, ServiceSpec, ServiceSpecMode, ServiceSpecUpdateConfig,
    ServiceSpecUpdateConfigFailureActionEnum, ServiceSpecUpdateConfigOrderEnum, TaskSpec,
    TaskSpecContainerSpec,
};
use skep_wire::{AGENT_SERVICE, KEYS_FILE};

use super::{
    AGENT_HEALTH, GATEWAY_START, Material, SOCKET, bind, grace, health, nanoseconds, place, restarted,
    sealed, seconds, secret,
};
use crate::options::Options;

pub(crate) fn agent(options: &Options, material: &Material) -> ServiceSpec {
    let container = TaskSpecContainerSpec {
        image: Some(material.image.clone()),
        labels: Some(HashMap::from([(
            "skep.image".to_owned(),
            material.image_id.clone(),
        )])),
        args: Some(arguments(options)),
        env: Some(place().to_vec()),
        mounts: Some(vec![bind(SOCKET)]),
        secrets: Some(vec![secret(&material.agent_keys, KEYS_FILE)]),
        // Its predecessor's agent may take as long as it may to end what runs.
        health_check: Some(health(&AGENT_HEALTH, start(options))),
        stop_grace_period: Some(grace(options.drain)),
        ..TaskSpecContainerSpec::default()
    };
    let spec = ServiceSpec {
        name: Some(AGENT_SERVICE.to_owned()),
        mode: Some(ServiceSpecMode {
            global: Some(HashMap::new()),
            ..ServiceSpecMode::default()
        }),
        task_template: Some(TaskSpec {
            container_spec: Some(container),
            restart_policy: Some(restarted()),
            ..TaskSpec::default()
        }),
        endpoint_spec: Some(EndpointSpec {
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: None,
        }),
        // The new launcher is there before the old one is told to end: so the old one knows that it is not the agent
        // who is to go.
        update_config: Some(ServiceSpecUpdateConfig {
            parallelism: Some(1),
            order: Some(ServiceSpecUpdateConfigOrderEnum::START_FIRST),
            failure_action: Some(ServiceSpecUpdateConfigFailureActionEnum::ROLLBACK),
            monitor: Some(nanoseconds(Duration::from_secs(5))),
            ..ServiceSpecUpdateConfig::default()
        }),
        ..ServiceSpec::default()
    };
    sealed(spec, "agent")
}

/// How long a launcher may take until its agent answers.
pub(crate) fn start(options: &Options) -> Duration {
    options.drain.saturating_add(GATEWAY_START)
}

/// What the launcher is told.
pub(crate) fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = vec![
        "launcher".to_owned(),
        "--data".to_owned(),
        options.data.clone(),
        "--drain".to_owned(),
        seconds(options.drain),
    ];
    let own = [
        format!("SKEP_NAMESPACE={}", options.namespace),
        format!("SKEP_DRAIN_TIMEOUT={}", seconds(options.drain)),
        format!("SKEP_DATA_DIR={}", options.data),
    ];
    for variable in own.iter().chain(&options.environment) {
        arguments.extend(["--env".to_owned(), variable.clone()]);
    }
    arguments
}
