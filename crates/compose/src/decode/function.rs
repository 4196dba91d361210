//! What makes a service a function, and what a function cannot have.

use super::fields::Fields;
use super::labels;
use crate::problem::Problem;
use crate::project::{Restart, Service};
use std::collections::BTreeMap;

const LABEL: &str = "skep.function";

/// Turns a service with the label `skep.function` into a function: the
/// labels of `deploy` become the template's own, and keys that a parked
/// template cannot keep are refused.
pub(super) fn apply(
    fields: &Fields<'_>,
    service: &mut Service,
    deploy_labels: BTreeMap<String, String>,
    restart: Option<Restart>,
) {
    let context = fields.context;
    let key = |name: &str| format!("{}.{name}", fields.path);
    let is_function = service.labels.contains_key(LABEL) || deploy_labels.contains_key(LABEL);
    if !is_function {
        let stray = service
            .labels
            .keys()
            .chain(deploy_labels.keys())
            .find(|label| label.starts_with("skep."));
        if let Some(stray) = stray {
            context.refuse(
                Problem::new(format!("{stray} without {LABEL}"))
                    .at(service.position_of("labels"), key("labels"))
                    .hint(format!(
                        "add {LABEL}: NAME to make it a function, or remove the label"
                    )),
            );
        }
        if !deploy_labels.is_empty() {
            context.note(
                service.position_of("deploy.labels"),
                &key("deploy.labels"),
                "Swarm only: labels of the service, not of its containers",
            );
        }
        return;
    }
    for (label, value) in deploy_labels {
        if let Some(other) = service.labels.insert(label.clone(), value.clone())
            && other != value
        {
            context.refuse(
                Problem::new(format!(
                    "{label} is \"{other}\" in labels and \"{value}\" in deploy.labels"
                ))
                .at(service.position_of("deploy.labels"), key("deploy.labels"))
                .hint("keep it in one of the two"),
            );
        }
    }
    service.function = service.labels.get(LABEL).cloned();
    labels::check(context, service);
    fields.refused(
        if service.ports.is_empty() { &[] } else { &["ports"] },
        "a function publishes no ports: Skep's listener passes its requests on",
        "remove ports; the function answers at its route, /NAME unless skep.route says otherwise",
    );
    if restart.is_some_and(|restart| restart != Restart::No) {
        fields.refused(
            &["restart"],
            "a function is not kept running: each invocation gets a fresh container",
            "remove restart",
        );
    }
    service.restart = Restart::No;
    fields.refused(
        &["container_name"],
        "a function's template changes its name with every deploy",
        "remove container_name; the function is called by its label skep.function",
    );
    let handler = service.labels.get("skep.handler").map_or("http", String::as_str);
    if service.tty && matches!(handler, "exec" | "cgi") {
        fields.refused(
            &["tty"],
            &format!("a terminal would mangle what the {handler} handler reads and writes"),
            "remove tty",
        );
    }
    match service.network_mode.as_deref() {
        Some(mode) if mode.starts_with("service:") || mode.starts_with("container:") => {
            fields.refused(
                &["network_mode"],
                "a function cannot live in another container's network",
                "put both on one network",
            );
        }
        _ => {}
    }
    if service.healthcheck.is_some() {
        context.note(
            service.position_of("healthcheck"),
            &key("healthcheck"),
            "an instance is ready when it accepts connections, or as skep.ready says; \
             the health check has no part in it",
        );
    }
    if service.replicas != 1 {
        context.note(
            service.position_of("deploy.replicas"),
            &key("deploy.replicas"),
            "one template is parked; Skep starts as many instances as are needed, up to skep.max",
        );
        service.replicas = 1;
    }
}
