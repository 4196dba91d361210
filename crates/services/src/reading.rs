//! Reading one service: whether it is a template of this namespace, and which.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard::models::{Service, ServiceSpec, ServiceSpecMode};
use jiff::Timestamp;
use serde_json::{Value, json};
use skep_discovery::sorted;
use skep_model::{Function, Invalid, Namespace, Revision, Template, TemplateId, label};

/// The names of networks by their ids: services name them by id.
pub type Networks = HashMap<String, String>;

/// What a service turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// No template of this namespace.
    Other,
    /// A function, or what is wrong with it.
    Template(Box<Result<Function, Invalid>>),
}

/// Reads a service as the Swarm describes it.
pub fn read(service: &Service, networks: &Networks, namespace: &Namespace) -> Reading {
    let Some(spec) = &service.spec else {
        return Reading::Other;
    };
    let labels: BTreeMap<String, String> = spec.labels.clone().unwrap_or_default().into_iter().collect();
    let default = Namespace::default();
    let claimed = labels
        .get(label::NAMESPACE)
        .map_or(default.as_str(), String::as_str);
    if !labels.contains_key(label::FUNCTION)
        || labels.contains_key(label::OWNER)
        || claimed != namespace.as_str()
    {
        return Reading::Other;
    }
    let name = labels.get(label::FUNCTION).cloned().unwrap_or_default();
    let reasons = unfit(spec);
    let template = Arc::new(template(service, spec, labels, networks));
    let read = Function::from_template(Arc::clone(&template), revision(spec));
    let function = match (read, reasons.is_empty()) {
        (Ok(function), true) => Ok(function),
        (read, _) => Err(Invalid {
            name,
            template: template.id.clone(),
            template_name: template.name.clone(),
            reasons: reasons
                .into_iter()
                .chain(read.err().into_iter().flatten())
                .collect(),
        }),
    };
    Reading::Template(Box::new(function))
}

/// The rules about the service itself, whatever its labels say.
fn unfit(spec: &ServiceSpec) -> Vec<String> {
    let mut reasons = Vec::new();
    let name = spec.name.as_deref().unwrap_or("NAME");
    match &spec.mode {
        Some(ServiceSpecMode { global: Some(_), .. }) => reasons.push(
            "the service is global; a function's service is replicated with 0 replicas: create it with \
             `--replicas 0`"
                .to_owned(),
        ),
        Some(ServiceSpecMode {
            replicated_job: Some(_),
            ..
        })
        | Some(ServiceSpecMode {
            global_job: Some(_), ..
        }) => reasons.push(
            "the service is a job; a function's service is replicated with 0 replicas: create it with \
             `--replicas 0`"
                .to_owned(),
        ),
        mode => {
            let replicated = mode.as_ref().and_then(|mode| mode.replicated.as_ref());
            // Without a number the Swarm takes 1.
            let replicas = replicated.and_then(|mode| mode.replicas).unwrap_or(1);
            if replicas != 0 {
                reasons.push(format!(
                    "the service has {replicas} replicas; a function's service has none, for Skep runs what is asked \
                     for: `docker service scale {name}=0`"
                ));
            }
        }
    }
    let ports = spec
        .endpoint_spec
        .as_ref()
        .and_then(|endpoint| endpoint.ports.as_ref());
    if ports.is_some_and(|ports| !ports.is_empty()) {
        reasons.push(
            "the service publishes ports; requests reach a function through Skep: create it without them"
                .to_owned(),
        );
    }
    let task = spec.task_template.as_ref();
    let image = task.and_then(|task| task.container_spec.as_ref()?.image.as_deref());
    if image.is_none_or(str::is_empty) {
        reasons.push("the service runs no container; a function is an image".to_owned());
    }
    reasons
}

fn template(
    service: &Service,
    spec: &ServiceSpec,
    labels: BTreeMap<String, String>,
    networks: &Networks,
) -> Template {
    let task = spec.task_template.as_ref();
    let container = task.and_then(|task| task.container_spec.as_ref());
    let named = container
        .and_then(|container| container.image.clone())
        .unwrap_or_default();
    // The Swarm pins an image by its digest behind the name that was typed.
    let (image, digest) = match named.split_once('@') {
        Some((image, digest)) => (image.to_owned(), digest.to_owned()),
        None => (named.clone(), String::new()),
    };
    let attachments = task
        .and_then(|task| task.networks.as_ref())
        .or(spec.networks.as_ref())
        .into_iter()
        .flatten();
    let mut names: Vec<String> = attachments
        .filter_map(|network| network.target.as_ref())
        .map(|id| networks.get(id).unwrap_or(id).clone())
        .collect();
    names.sort_unstable();
    let limits = task.and_then(|task| task.resources.as_ref()?.limits.as_ref());
    let memory = limits.and_then(|limits| limits.memory_bytes);
    let environment = container
        .and_then(|container| container.env.as_ref())
        .into_iter()
        .flatten();
    Template {
        id: TemplateId(service.id.clone().unwrap_or_default().into()),
        name: spec.name.clone().unwrap_or_default(),
        created: service
            .created_at
            .as_ref()
            .and_then(|time| time.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
        labels,
        // Whatever an image claims becomes no label of the service.
        image_labels: BTreeMap::new(),
        image_id: digest,
        image,
        image_present: true,
        ever_started: false,
        publishes_ports: false,
        tty: container.and_then(|container| container.tty) == Some(true),
        exposed_tcp: Vec::new(),
        port_variable: environment
            .filter_map(|variable| variable.strip_prefix("PORT="))
            .map(str::to_owned)
            .next(),
        fixed_address: false,
        network_mode: String::new(),
        networks: names,
        memory: memory
            .and_then(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| *bytes > 0),
        copied: None,
        inspect: Arc::from(json!(spec).to_string()),
    }
}

/// A digest of what defines the function: what a task is made from, and the labels that are Skep's. How often an update
/// was forced says nothing of what it is.
fn revision(spec: &ServiceSpec) -> Revision {
    let mut task = json!(spec.task_template);
    if let Value::Object(fields) = &mut task {
        fields.remove("ForceUpdate");
    }
    let labels: BTreeMap<&String, &String> = spec
        .labels
        .iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("skep."))
        .collect();
    let definition = sorted(json!({ "TaskTemplate": task, "Networks": spec.networks, "Labels": labels }));
    Revision::of(definition.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use bollard::models::{
        EndpointPortConfig, EndpointSpec, ServiceSpecModeReplicated, TaskSpec, TaskSpecContainerSpec,
    };

    use super::*;

    fn service(labels: &[(&str, &str)]) -> Service {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Service {
            id: Some("service-id".to_owned()),
            created_at: Some("2026-01-02T03:04:05.123456789Z".to_owned()),
            spec: Some(ServiceSpec {
                name: Some("stack_hello".to_owned()),
                labels: Some(labels),
                task_template: Some(TaskSpec {
                    container_spec: Some(TaskSpecContainerSpec {
                        image: Some("debian:bookworm-slim@sha256:0123".to_owned()),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                mode: Some(ServiceSpecMode {
                    replicated: Some(ServiceSpecModeReplicated { replicas: Some(0) }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    const HELLO: [(&str, &str); 2] = [("skep.function", "hello"), ("skep.handler", "exec")];

    fn reasons(change: impl FnOnce(&mut ServiceSpec)) -> Vec<String> {
        let mut service = service(&HELLO);
        change(service.spec.as_mut().unwrap());
        match read(&service, &Networks::new(), &Namespace::default()) {
            Reading::Template(read) => read.err().map(|invalid| invalid.reasons).unwrap_or_default(),
            Reading::Other => panic!("it is a template"),
        }
    }

    fn of(service: &Service) -> Function {
        match read(service, &Networks::new(), &Namespace::default()) {
            Reading::Template(read) => read.unwrap(),
            Reading::Other => panic!("it is a template"),
        }
    }

    #[test]
    fn a_service_without_replicas_is_a_function() {
        let function = of(&service(&HELLO));
        assert_eq!(function.name.as_str(), "hello");
        assert_eq!(function.template.name, "stack_hello");
        assert_eq!(function.template.image, "debian:bookworm-slim");
        assert_eq!(function.template.image_id, "sha256:0123");
        assert_eq!(function.template.created.subsec_nanosecond(), 123_456_789);
        assert!(reasons(|_| {}).is_empty());
    }

    #[test]
    fn what_is_no_function_has_the_exact_reason() {
        let running = reasons(|spec| {
            spec.mode.as_mut().unwrap().replicated.as_mut().unwrap().replicas = Some(2);
        });
        assert!(
            running[0].contains("2 replicas") && running[0].contains("docker service scale stack_hello=0")
        );
        let unsaid = reasons(|spec| spec.mode = None);
        assert!(unsaid[0].contains("1 replicas"), "{unsaid:?}");
        let global = reasons(|spec| {
            spec.mode = Some(ServiceSpecMode {
                global: Some(HashMap::new()),
                ..Default::default()
            });
        });
        assert!(global[0].starts_with("the service is global"), "{global:?}");
        let job = reasons(|spec| {
            spec.mode = Some(ServiceSpecMode {
                replicated_job: Some(Default::default()),
                ..Default::default()
            });
        });
        assert!(job[0].starts_with("the service is a job"), "{job:?}");
        let ports = reasons(|spec| {
            spec.endpoint_spec = Some(EndpointSpec {
                ports: Some(vec![EndpointPortConfig::default()]),
                ..Default::default()
            });
        });
        assert!(ports[0].starts_with("the service publishes ports"), "{ports:?}");
        let terminal = reasons(|spec| {
            let task = spec.task_template.as_mut().unwrap();
            task.container_spec.as_mut().unwrap().tty = Some(true);
        });
        assert!(terminal[0].contains("TTY"), "{terminal:?}");
        let unknown = reasons(|spec| {
            spec.labels
                .as_mut()
                .unwrap()
                .insert("skep.handle".to_owned(), "exec".to_owned());
        });
        assert!(unknown[0].contains("did you mean skep.handler?"), "{unknown:?}");
        let nothing = reasons(|spec| spec.task_template = None);
        assert!(nothing[0].contains("runs no container"), "{nothing:?}");
    }

    #[test]
    fn skeps_own_services_and_other_namespaces_are_none() {
        let ours = Namespace::default();
        for labels in [
            vec![("skep.handler", "exec")],
            vec![("skep.function", "a"), ("skep.owner", "skep")],
            vec![("skep.function", "a"), ("skep.namespace", "theirs")],
        ] {
            assert_eq!(
                read(&service(&labels), &Networks::new(), &ours),
                Reading::Other,
                "{labels:?}"
            );
        }
    }

    #[test]
    fn a_revision_is_what_the_task_and_the_labels_say() {
        let first = of(&service(&HELLO)).revision;
        let mut same = service(&HELLO);
        let spec = same.spec.as_mut().unwrap();
        spec.labels
            .as_mut()
            .unwrap()
            .insert("com.example".to_owned(), "1".to_owned());
        spec.task_template.as_mut().unwrap().force_update = Some(3);
        spec.name = Some("another".to_owned());
        assert_eq!(of(&same).revision, first);
        let mut other = service(&HELLO);
        let spec = other.spec.as_mut().unwrap();
        spec.task_template
            .as_mut()
            .unwrap()
            .container_spec
            .as_mut()
            .unwrap()
            .args = Some(vec!["x".to_owned()]);
        assert_ne!(of(&other).revision, first);
        let labelled = service(&[HELLO[0], HELLO[1], ("skep.max", "3")]);
        assert_ne!(of(&labelled).revision, first);
    }

    #[test]
    fn networks_are_shown_by_their_names() {
        let mut service = service(&HELLO);
        let task = service.spec.as_mut().unwrap().task_template.as_mut().unwrap();
        task.networks = Some(vec![bollard::models::NetworkAttachmentConfig {
            target: Some("abc".to_owned()),
            ..Default::default()
        }]);
        let networks = Networks::from([("abc".to_owned(), "front".to_owned())]);
        let Reading::Template(read) = read(&service, &networks, &Namespace::default()) else {
            panic!("it is a template");
        };
        assert_eq!(read.unwrap().template.networks, ["front"]);
    }
}
