//! What a run has to do, from what is there. No I/O.

use std::collections::HashMap;

use bollard::models::{Node, NodeSpecAvailabilityEnum, NodeSpecRoleEnum, NodeState, Service, ServiceSpec};
use skep_wire::PART;

use crate::spec::DIGEST;

/// What is to be done about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    Update,
    /// It is as it should be.
    Keep,
    /// It is somebody else's.
    Taken,
}

/// Compares what is there with what should be.
pub(crate) fn change(there: Option<&Service>, wanted: &ServiceSpec) -> Change {
    let Some(spec) = there.map(|service| service.spec.clone().unwrap_or_default()) else {
        return Change::Create;
    };
    let label = |spec: &ServiceSpec, name: &str| spec.labels.as_ref()?.get(name).cloned();
    if label(&spec, PART).is_none() {
        return Change::Taken;
    }
    // An update by hand changes the task and leaves the digest.
    let by_hand = |spec: &ServiceSpec| {
        let container = spec.task_template.as_ref()?.container_spec.as_ref()?;
        Some((
            container.image.clone(),
            container.args.clone(),
            container.env.clone(),
        ))
    };
    if label(&spec, DIGEST) == label(wanted, DIGEST) && by_hand(&spec) == by_hand(wanted) {
        Change::Keep
    } else {
        Change::Update
    }
}

/// Whether tasks are started on a node now.
pub(crate) fn takes_tasks(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let active = spec.and_then(|spec| spec.availability) == Some(NodeSpecAvailabilityEnum::ACTIVE);
    active && is_ready(node)
}

/// Whether a node answers.
pub(crate) fn is_ready(node: &Node) -> bool {
    node.status.as_ref().and_then(|status| status.state) == Some(NodeState::READY)
}

/// Whether a node is a manager.
pub(crate) fn is_manager(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.role) == Some(NodeSpecRoleEnum::MANAGER)
}

/// A node's name.
pub(crate) fn name(node: &Node) -> String {
    let description = node.description.as_ref();
    let hostname = description.and_then(|description| description.hostname.clone());
    hostname.or_else(|| node.id.clone()).unwrap_or_default()
}

/// Why none of the managers can run a gateway; `None` where one can.
pub(crate) fn no_gateway(nodes: &[Node], constraints: &[String]) -> Option<String> {
    let mut reasons = Vec::new();
    for node in nodes.iter().filter(|node| is_manager(node)) {
        let unmet = constraints
            .iter()
            .find(|constraint| meets(node, constraint) == Some(false));
        let reason = if !is_ready(node) {
            "does not answer".to_owned()
        } else if !takes_tasks(node) {
            "is drained or paused".to_owned()
        } else if let Some(constraint) = unmet {
            format!("does not meet {constraint}")
        } else {
            return None;
        };
        reasons.push(format!("{} {reason}", name(node)));
    }
    Some(reasons.join(", "))
}

/// How many managers are sure to run a gateway; at least one, where Swarm is the judge of the constraints.
pub(crate) fn places(nodes: &[Node], constraints: &[String]) -> usize {
    let sure = |node: &&Node| {
        let meets = |constraint: &String| meets(node, constraint) == Some(true);
        is_manager(node) && takes_tasks(node) && constraints.iter().all(meets)
    };
    nodes.iter().filter(sure).count().max(1)
}

/// Whether a node meets a placement constraint, as far as that can be told here: of the many kinds of constraints
/// those that people set for this are read, and of the rest Swarm is the judge.
fn meets(node: &Node, constraint: &str) -> Option<bool> {
    let (key, value, wanted) = match constraint.split_once("==") {
        Some((key, value)) => (key.trim(), value.trim(), true),
        None => {
            let (key, value) = constraint.split_once("!=")?;
            (key.trim(), value.trim(), false)
        }
    };
    let empty = HashMap::new();
    let labels = node.spec.as_ref().and_then(|spec| spec.labels.as_ref());
    let found = match key {
        "node.role" => if is_manager(node) { "manager" } else { "worker" }.to_owned(),
        "node.hostname" => name(node),
        "node.id" => node.id.clone().unwrap_or_default(),
        _ => {
            let label = key.strip_prefix("node.labels.")?;
            labels.unwrap_or(&empty).get(label).cloned().unwrap_or_default()
        }
    };
    Some(found.eq_ignore_ascii_case(value) == wanted)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{
        Node, NodeDescription, NodeSpec, NodeSpecAvailabilityEnum, NodeSpecRoleEnum, NodeState, NodeStatus,
        Service, ServiceSpec, TaskSpec, TaskSpecContainerSpec,
    };
    use skep_wire::PART;

    use super::{Change, change, no_gateway, places};
    use crate::spec::DIGEST;

    fn spec(digest: &str, image: &str) -> ServiceSpec {
        ServiceSpec {
            labels: Some(HashMap::from([
                (PART.to_owned(), "gateway".to_owned()),
                (DIGEST.to_owned(), digest.to_owned()),
            ])),
            task_template: Some(TaskSpec {
                container_spec: Some(TaskSpecContainerSpec {
                    image: Some(image.to_owned()),
                    ..TaskSpecContainerSpec::default()
                }),
                ..TaskSpec::default()
            }),
            ..ServiceSpec::default()
        }
    }

    fn service(spec: ServiceSpec) -> Service {
        Service {
            spec: Some(spec),
            ..Service::default()
        }
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let wanted = spec("one", "skep");
        assert_eq!(change(None, &wanted), Change::Create);
        assert_eq!(change(Some(&service(wanted.clone())), &wanted), Change::Keep);
        assert_eq!(
            change(Some(&service(spec("two", "skep"))), &wanted),
            Change::Update
        );
    }

    #[test]
    fn what_was_changed_by_hand_is_put_right_though_its_digest_stayed() {
        let there = service(spec("one", "another"));
        assert_eq!(change(Some(&there), &spec("one", "skep")), Change::Update);
    }

    #[test]
    fn a_service_of_somebody_elses_is_not_touched() {
        let there = service(ServiceSpec::default());
        assert_eq!(change(Some(&there), &spec("one", "skep")), Change::Taken);
    }

    fn manager(name: &str, availability: NodeSpecAvailabilityEnum) -> Node {
        Node {
            spec: Some(NodeSpec {
                role: Some(NodeSpecRoleEnum::MANAGER),
                availability: Some(availability),
                ..NodeSpec::default()
            }),
            description: Some(NodeDescription {
                hostname: Some(name.to_owned()),
                ..NodeDescription::default()
            }),
            status: Some(NodeStatus {
                state: Some(NodeState::READY),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }

    #[test]
    fn it_is_said_of_each_manager_why_it_runs_no_gateway() {
        let drained = manager("one", NodeSpecAvailabilityEnum::DRAIN);
        let active = manager("two", NodeSpecAvailabilityEnum::ACTIVE);
        let label = ["node.labels.edge==true".to_owned()];
        assert_eq!(
            no_gateway(&[drained.clone(), active.clone()], &label).unwrap(),
            "one is drained or paused, two does not meet node.labels.edge==true"
        );
        assert_eq!(no_gateway(&[drained, active], &[]), None);
    }

    #[test]
    fn every_gateway_is_waited_for_that_is_sure_to_come() {
        let managers = [
            manager("one", NodeSpecAvailabilityEnum::DRAIN),
            manager("two", NodeSpecAvailabilityEnum::ACTIVE),
            manager("three", NodeSpecAvailabilityEnum::ACTIVE),
        ];
        assert_eq!(places(&managers, &[]), 2);
        assert_eq!(places(&managers, &["node.hostname==three".to_owned()]), 1);
        assert_eq!(places(&managers, &["node.platform.os==linux".to_owned()]), 1);
    }

    #[test]
    fn workers_are_no_place_for_a_gateway() {
        let mut worker = manager("one", NodeSpecAvailabilityEnum::ACTIVE);
        worker.spec.as_mut().unwrap().role = Some(NodeSpecRoleEnum::WORKER);
        assert_eq!(no_gateway(&[worker], &[]).unwrap(), "");
    }

    #[test]
    fn of_constraints_that_are_not_read_here_swarm_is_the_judge() {
        let active = manager("two", NodeSpecAvailabilityEnum::ACTIVE);
        assert_eq!(
            no_gateway(&[active], &["node.platform.os==linux".to_owned()]),
            None
        );
    }
}
