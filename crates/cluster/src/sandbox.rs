//! The service that holds a function's sandboxes (decision 090), made from the function's own. Pure: the same function
//! gives the same service.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, HealthConfig, ServiceSpec, ServiceSpecMode,
    ServiceSpecModeReplicated, ServiceSpecUpdateConfig, ServiceSpecUpdateConfigFailureActionEnum,
    ServiceSpecUpdateConfigOrderEnum, TaskSpecContainerSpecConfigs, TaskSpecContainerSpecFile1,
    TaskSpecResources, TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};
use skep_model::{Function, Revision, label as model_label};
use skep_scale::Limits;
use skep_wire::{Definition, label};

/// The owner that stands on what Skep makes on a Swarm.
pub(crate) const OWNER: &str = "skep-gateway";
/// The label by which `docker stack rm` finds what belongs to a stack.
const STACK: &str = "com.docker.stack.namespace";
/// Where `pause` is mounted in a sandbox.
const PAUSE: &str = "/.skep-pause";
/// The longest name that Docker gives a service.
const LONGEST_NAME: usize = 63;
/// How long a task that ended is left before another takes its place, in nanoseconds.
const RESTART_DELAY: i64 = 500_000_000;
/// How long a new task is watched before an update goes on, in nanoseconds.
const MONITOR: i64 = 500_000_000;

/// The config that holds `pause`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PauseConfig {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// The name of a function's sandbox service.
pub(crate) fn name(function: &Function) -> String {
    let whole = format!("skep-{}-{}", function.namespace, function.name);
    if whole.len() <= LONGEST_NAME {
        return whole;
    }
    let digest = Revision::of(whole.as_bytes());
    let kept = LONGEST_NAME - 1 - digest.as_str().len();
    format!("{}-{digest}", whole[..kept].trim_end_matches('-'))
}

/// The whole service with so many tasks. `alone` is as for [`Limits::of`].
///
/// # Errors
/// The function's own service can't be read back.
pub(crate) fn service(
    function: &Function,
    pause: &PauseConfig,
    tasks: u32,
    alone: bool,
) -> Result<ServiceSpec, String> {
    let own: ServiceSpec =
        serde_json::from_str(&function.template.inspect).map_err(|error| error.to_string())?;
    let limits = Limits::of(&function.settings, alone);
    let own_labels = own.labels.unwrap_or_default();
    let mut task = own.task_template.unwrap_or_default();
    let mut container = task.container_spec.take().unwrap_or_default();
    let mut resources = task.resources.take().unwrap_or_default();
    let each = resources.limits.clone().unwrap_or_default();
    let positive = |number: Option<i64>| {
        number
            .and_then(|number| u64::try_from(number).ok())
            .filter(|n| *n > 0)
    };
    let definition = Definition {
        revision: function.revision.to_string(),
        service: function.template.id.to_string(),
        service_name: function.template.name.clone(),
        created: function.template.created,
        labels: own_labels
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<BTreeMap<_, _>>(),
        entrypoint: container.command.take(),
        arguments: container.args.take(),
        slots: limits.slots(),
        memory: positive(each.memory_bytes),
        nano_cpus: positive(each.nano_cpus),
        pids: positive(each.pids),
        init: container.init,
    };
    container.command = Some(vec![PAUSE.to_owned()]);
    container.health_check = Some(HealthConfig {
        test: Some(vec!["NONE".to_owned()]),
        ..Default::default()
    });
    container.init = Some(false);
    let grace = i64::try_from(function.settings.timeout.as_nanos()).unwrap_or(i64::MAX);
    container.stop_grace_period = Some(grace);
    container
        .configs
        .get_or_insert_default()
        .push(TaskSpecContainerSpecConfigs {
            file: Some(TaskSpecContainerSpecFile1 {
                name: Some(PAUSE.to_owned()),
                uid: Some("0".to_owned()),
                gid: Some("0".to_owned()),
                mode: Some(0o555),
            }),
            config_id: Some(pause.id.clone()),
            config_name: Some(pause.name.clone()),
            ..Default::default()
        });
    let json = serde_json::to_string(&definition).map_err(|error| error.to_string())?;
    container.labels.get_or_insert_default().extend([
        (label::SANDBOX.to_owned(), function.name.to_string()),
        (label::NAMESPACE.to_owned(), function.namespace.to_string()),
        (label::DEFINITION.to_owned(), json),
    ]);
    multiply(&mut resources, limits.slots());
    task.container_spec = Some(container);
    task.resources = Some(resources);
    task.force_update = None;
    task.restart_policy = Some(TaskSpecRestartPolicy {
        condition: Some(TaskSpecRestartPolicyConditionEnum::ANY),
        delay: Some(RESTART_DELAY),
        ..Default::default()
    });
    let mut labels = HashMap::from([
        (model_label::OWNER.to_owned(), OWNER.to_owned()),
        (label::NAMESPACE.to_owned(), function.namespace.to_string()),
        (label::SANDBOX_OF.to_owned(), function.template.id.to_string()),
        (label::SANDBOX.to_owned(), function.name.to_string()),
    ]);
    if let Some(stack) = own_labels.get(STACK) {
        labels.insert(STACK.to_owned(), stack.clone());
    }
    Ok(ServiceSpec {
        name: Some(name(function)),
        labels: Some(labels),
        task_template: Some(task),
        mode: Some(replicated(tasks)),
        update_config: Some(ServiceSpecUpdateConfig {
            parallelism: Some(0),
            failure_action: Some(ServiceSpecUpdateConfigFailureActionEnum::PAUSE),
            monitor: Some(MONITOR),
            order: Some(ServiceSpecUpdateConfigOrderEnum::START_FIRST),
            ..Default::default()
        }),
        rollback_config: None,
        networks: own.networks,
        endpoint_spec: Some(EndpointSpec {
            mode: Some(EndpointSpecModeEnum::DNSRR),
            ports: None,
        }),
    })
}

/// So many tasks.
pub(crate) fn replicated(tasks: u32) -> ServiceSpecMode {
    ServiceSpecMode {
        replicated: Some(ServiceSpecModeReplicated {
            replicas: Some(i64::from(tasks)),
        }),
        ..Default::default()
    }
}

/// How many tasks a service is to have.
pub(crate) fn tasks(spec: &ServiceSpec) -> u32 {
    let replicated = spec.mode.as_ref().and_then(|mode| mode.replicated.as_ref());
    let replicas = replicated.and_then(|mode| mode.replicas).unwrap_or(0);
    u32::try_from(replicas).unwrap_or(0)
}

/// What tells one definition from another: it says everything that a sandbox is made from, the revision above all.
pub(crate) fn definition(spec: &ServiceSpec) -> Option<&str> {
    let container = spec.task_template.as_ref()?.container_spec.as_ref()?;
    container
        .labels
        .as_ref()?
        .get(label::DEFINITION)
        .map(String::as_str)
}

/// Whether a service holds this revision of this function, without reading all that it says.
pub(crate) fn is_of(spec: &ServiceSpec, function: &Function) -> bool {
    let labels = spec.labels.as_ref();
    let of = labels
        .and_then(|labels| labels.get(label::SANDBOX_OF))
        .map(String::as_str);
    of == Some(&*function.template.id.0)
        && definition(spec).is_some_and(|definition| definition.contains(function.revision.as_str()))
}

/// How many slots a task of this service has, as it was made.
pub(crate) fn slots(spec: &ServiceSpec) -> Option<u32> {
    let definition: Definition = serde_json::from_str(definition(spec)?).ok()?;
    Some(definition.slots)
}

/// One task has room for that many instances.
fn multiply(resources: &mut TaskSpecResources, slots: u32) {
    let times = |number: &mut Option<i64>| {
        if let Some(number) = number {
            *number = number.saturating_mul(i64::from(slots));
        }
    };
    if let Some(limits) = &mut resources.limits {
        times(&mut limits.memory_bytes);
        times(&mut limits.nano_cpus);
        times(&mut limits.pids);
    }
    if let Some(reservations) = &mut resources.reservations {
        times(&mut reservations.memory_bytes);
        times(&mut reservations.nano_cpus);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn function(labels: &[(&str, &str)]) -> Function {
        let mut template = skep_testing::template("hello", labels);
        template.name = "shop_hello".to_owned();
        let spec = json!({
            "Name": "shop_hello",
            "Labels": {"skep.function": "hello", "com.docker.stack.namespace": "shop"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "debian@sha256:1", "Command": ["/bin/server"], "Args": ["-v"], "Init": true,
                    "Labels": {"mine": "1"},
                    "Configs": [{"ConfigID": "c", "ConfigName": "c", "File": {"Name": "/c"}}],
                },
                "Resources": {
                    "Limits": {"MemoryBytes": 67_108_864, "NanoCPUs": 500_000_000, "Pids": 50},
                    "Reservations": {"MemoryBytes": 1_000_000},
                },
                "Placement": {"Constraints": ["node.role==worker"]},
                "Networks": [{"Target": "front", "Aliases": ["hello"]}],
                "ForceUpdate": 2,
            },
            "EndpointSpec": {"Mode": "vip"},
        });
        template.inspect = Arc::from(spec.to_string());
        Function::from_template(Arc::new(template), Revision::of(b"1")).unwrap()
    }

    fn made(labels: &[(&str, &str)]) -> ServiceSpec {
        let pause = PauseConfig {
            id: "p".to_owned(),
            name: "skep-pause".to_owned(),
        };
        service(&function(labels), &pause, 1, false).unwrap()
    }

    #[test]
    fn a_sandbox_is_the_functions_own_container_asleep() {
        let spec = made(&[("skep.max", "40"), ("skep.timeout", "7s")]);
        let task = spec.task_template.clone().unwrap();
        let container = task.container_spec.clone().unwrap();
        assert_eq!(container.command.as_deref(), Some(&[PAUSE.to_owned()][..]));
        assert_eq!((container.args, container.init), (None, Some(false)));
        assert_eq!(container.stop_grace_period, Some(7_000_000_000));
        assert_eq!(container.configs.unwrap().len(), 2);
        let labels = container.labels.unwrap();
        assert_eq!(labels["mine"], "1");
        assert_eq!(labels[label::SANDBOX], "hello");
        let definition: Definition = serde_json::from_str(&labels[label::DEFINITION]).unwrap();
        assert_eq!(definition.entrypoint.unwrap(), ["/bin/server"]);
        assert_eq!(definition.arguments.unwrap(), ["-v"]);
        assert_eq!((definition.slots, definition.init), (14, Some(true)));
        assert_eq!(definition.memory, Some(67_108_864));
        // 40 at once with at most 16 each: three tasks of at most 14.
        let limits = task.resources.unwrap();
        assert_eq!(limits.limits.unwrap().memory_bytes, Some(14 * 67_108_864));
        assert_eq!(limits.reservations.unwrap().memory_bytes, Some(14_000_000));
        assert_eq!(
            task.placement.unwrap().constraints.unwrap(),
            ["node.role==worker"]
        );
        assert_eq!(task.networks.unwrap()[0].target.as_deref(), Some("front"));
        assert_eq!(task.force_update, None);
    }

    #[test]
    fn it_goes_with_its_stack_and_is_nobodys_template() {
        let spec = made(&[]);
        let labels = spec.labels.unwrap();
        assert_eq!(labels[STACK], "shop");
        assert!(labels.contains_key("skep.owner") && !labels.contains_key("skep.function"));
        assert_eq!(labels[label::SANDBOX_OF], "hello-template");
        let endpoint = spec.endpoint_spec.unwrap();
        assert_eq!(
            (endpoint.mode, endpoint.ports),
            (Some(EndpointSpecModeEnum::DNSRR), None)
        );
    }

    #[test]
    fn a_name_is_never_too_long_for_docker() {
        let function = function(&[("skep.namespace", &"n".repeat(60))]);
        let long = name(&function);
        assert!(
            long.len() <= LONGEST_NAME && long.starts_with("skep-nnn"),
            "{long}"
        );
        assert_eq!(long, name(&function));
    }
}
