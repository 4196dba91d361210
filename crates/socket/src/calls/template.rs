//! A child that is a function's: its template's container, with the request's command and environment over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use skep_grant::{Create, Refusal, Settled};
use skep_model::Function;

use crate::shared::Shared;

/// The memory in bytes and the CPUs in billionths that a template names.
pub(super) fn limits(function: &Function) -> (Option<u64>, Option<u64>) {
    let inspect: Value = serde_json::from_str(&function.template.inspect).unwrap_or_default();
    let field = |name: &str| {
        let number = inspect.pointer(&format!("/HostConfig/{name}"));
        let number = number.and_then(Value::as_i64);
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.filter(|n| *n > 0)
    };
    let period = field("CpuPeriod").unwrap_or(100_000);
    let quota = field("CpuQuota").map(|quota| quota.saturating_mul(1_000_000_000) / period);
    (field("Memory"), field("NanoCpus").or(quota))
}

/// The body of a function's container: its template's, with command and environment over it.
pub(super) fn body(
    shared: &Shared,
    function: &Arc<Function>,
    create: &Create,
    settled: &Settled,
) -> Result<(Value, Vec<(String, Value)>), Refusal> {
    let mut environment: Vec<(String, String)> = Vec::new();
    for variable in &create.environment {
        if let Some((name, value)) = variable.split_once('=') {
            environment.push((name.to_owned(), value.to_owned()));
        }
    }
    let made = skep_docker::template_body(function, &environment, shared.many_networks);
    let (mut body, later) = made.map_err(|error| Refusal {
        status: 500,
        message: format!("{}: {error}", function.name),
    })?;
    let Some(fields) = body.as_object_mut() else {
        return Ok((body, later));
    };
    if let Some(command) = &create.command {
        fields.insert("Cmd".to_owned(), command.clone().into());
    }
    let mut labels: BTreeMap<String, Value> = BTreeMap::new();
    let own = fields.get("Labels").and_then(Value::as_object);
    labels.extend(
        own.into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    let given = create.labels.iter().chain(&settled.labels);
    labels.extend(given.map(|(key, value)| (key.clone(), value.as_str().into())));
    fields.insert("Labels".to_owned(), json!(labels));
    for (name, flag) in [
        ("Tty", create.tty),
        ("OpenStdin", create.open_stdin),
        ("StdinOnce", create.stdin_once),
        ("AttachStdin", create.attach[0]),
        ("AttachStdout", create.attach[1]),
        ("AttachStderr", create.attach[2]),
    ] {
        fields.insert(name.to_owned(), flag.into());
    }
    if let Some(host) = fields.get_mut("HostConfig").and_then(Value::as_object_mut) {
        host.insert("AutoRemove".to_owned(), create.host.auto_remove.into());
        create.bound(host, settled);
    }
    Ok((body, later))
}
