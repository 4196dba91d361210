use bollard::models::{EndpointPortConfigPublishModeEnum, ServiceSpecUpdateConfigOrderEnum};

use super::{DIGEST, Material, Stored, agent, gateway, leave};
use crate::options::{Gateways, Options, Publish};

fn stored(name: &str) -> Stored {
    Stored {
        id: format!("id-{name}"),
        name: name.to_owned(),
    }
}

fn material() -> Material {
    Material {
        image: "registry/skep@sha256:1".to_owned(),
        image_id: "sha256:2".to_owned(),
        network: "network".to_owned(),
        gateway_keys: stored("gateway-keys"),
        agent_keys: stored("agent-keys"),
        pause: stored("pause"),
        registries: None,
        queue: None,
    }
}

fn digest(spec: &bollard::models::ServiceSpec) -> String {
    spec.labels.as_ref().unwrap()[DIGEST].clone()
}

#[test]
fn the_same_wishes_give_the_same_digest_and_other_ones_another() {
    let options = Options::default();
    let first = gateway(&options, &material());
    for _ in 0..20 {
        assert_eq!(digest(&first), digest(&gateway(&options, &material())));
    }
    let other = Options {
        port: 80,
        ..options.clone()
    };
    assert_ne!(digest(&first), digest(&gateway(&other, &material())));
    // An image that was loaded anew under its old name is another one.
    let other = Material {
        image_id: "sha256:3".to_owned(),
        ..material()
    };
    assert_ne!(digest(&first), digest(&gateway(&options, &other)));
}

#[test]
fn each_task_says_from_which_spec_it_was_made() {
    let spec = agent(&Options::default(), &material());
    let own = digest(&spec);
    let task = spec.task_template.unwrap().container_spec.unwrap();
    assert_eq!(task.labels.unwrap()[DIGEST], own);
}

#[test]
fn a_port_of_the_node_is_given_up_before_the_next_gateway_takes_it() {
    let host = gateway(&Options::default(), &material());
    let order = |spec: &bollard::models::ServiceSpec| spec.update_config.as_ref().unwrap().order;
    assert_eq!(order(&host), Some(ServiceSpecUpdateConfigOrderEnum::STOP_FIRST));
    let mesh = Options {
        publish: Publish::Ingress,
        ..Options::default()
    };
    let mesh = gateway(&mesh, &material());
    assert_eq!(order(&mesh), Some(ServiceSpecUpdateConfigOrderEnum::START_FIRST));
    let ports = mesh.endpoint_spec.unwrap().ports.unwrap();
    assert_eq!(
        ports[0].publish_mode,
        Some(EndpointPortConfigPublishModeEnum::INGRESS)
    );
}

#[test]
fn gateways_are_on_managers_and_never_two_on_one_node() {
    let options = Options {
        gateways: Gateways::Count(2),
        constraints: vec!["node.labels.edge==true".to_owned()],
        ..Options::default()
    };
    let spec = gateway(&options, &material());
    assert!(spec.mode.unwrap().global.is_none());
    let placement = spec.task_template.unwrap().placement.unwrap();
    assert_eq!(
        placement.constraints.unwrap(),
        ["node.role==manager", "node.labels.edge==true"]
    );
    assert_eq!(placement.max_replicas, Some(1));
}

#[test]
fn a_launcher_hands_on_what_concerns_its_agent() {
    let options = Options {
        namespace: "shop".to_owned(),
        environment: vec!["SKEP_ENGINE=docker".to_owned()],
        ..Options::default()
    };
    let spec = agent(&options, &material());
    assert!(spec.mode.unwrap().global.is_some());
    let arguments = spec.task_template.unwrap().container_spec.unwrap().args.unwrap();
    assert!(arguments.contains(&"SKEP_NAMESPACE=shop".to_owned()));
    assert!(arguments.contains(&"SKEP_ENGINE=docker".to_owned()));
}

#[test]
fn leaving_touches_data_only_where_that_is_asked_for() {
    let mounts = |spec: bollard::models::ServiceSpec| {
        spec.task_template
            .unwrap()
            .container_spec
            .unwrap()
            .mounts
            .unwrap()
    };
    assert_eq!(mounts(leave("skep", None)).len(), 1);
    let with_data = mounts(leave("skep", Some("/var/lib/skep")));
    assert_eq!(with_data[1].source.as_deref(), Some("/var/lib"));
}
