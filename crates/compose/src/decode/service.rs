//! One service.

use super::fields::{Context, Fields};
use super::{files, function};
use crate::problem::Problem;
use crate::project::{FileObject, Logging, PullPolicy, Service};
use crate::yaml::{Entry, Value};
use std::collections::BTreeMap;

/// The secrets and configs that services may name; `None` where an entry is
/// there and wrong.
#[derive(Default)]
pub(super) struct Known {
    pub(super) secrets: BTreeMap<String, Option<FileObject>>,
    pub(super) configs: BTreeMap<String, Option<FileObject>>,
}

/// Decodes a service with the profiles it belongs to.
pub(super) fn service(
    context: &Context<'_>,
    entry: &Entry,
    path: &str,
    known: &Known,
) -> Option<(Service, Vec<String>)> {
    if entry.node.is_null() {
        context.refuse_at(&entry.position, path, "neither image nor build is given");
        return None;
    }
    let fields = Fields::open(context, &entry.node, path)?;
    let profiles = fields.texts("profiles");
    let deploy = fields.deploy();
    let restart = fields.restart();
    let mut files = fields.files(&files::SECRETS, "secrets", &known.secrets);
    files.extend(fields.files(&files::CONFIGS, "configs", &known.configs));
    let mut service = Service {
        name: entry.key.clone(),
        position: entry.position.clone(),
        positions: fields.positions(),
        function: None,
        image: fields.text("image"),
        build: fields.build(),
        pull_policy: pull_policy(&fields),
        platform: fields.text("platform"),
        command: fields.command("command"),
        entrypoint: fields.command("entrypoint"),
        environment: fields.environment(),
        labels: fields.labels("labels"),
        annotations: fields.labels("annotations"),
        replicas: deploy.replicas.or(fields.number("scale")).unwrap_or(1),
        depends_on: fields.depends_on(),
        container_name: fields.text("container_name"),
        networks: fields.service_networks(),
        network_mode: fields.text("network_mode"),
        mounts: fields.mounts(),
        files,
        ports: fields.ports(),
        expose: fields.expose(),
        restart: restart.or(deploy.restart).unwrap_or_default(),
        healthcheck: fields.healthcheck(),
        limits: fields.limits(deploy.limits),
        logging: logging(&fields),
        ulimits: fields.ulimits(),
        sysctls: fields.labels("sysctls"),
        devices: fields.devices(),
        tmpfs: fields.tmpfs(),
        extra_hosts: hosts(&fields),
        dns: fields.one_or_more("dns"),
        dns_search: fields.one_or_more("dns_search"),
        dns_opt: fields.texts("dns_opt"),
        cap_add: fields.texts("cap_add"),
        cap_drop: fields.texts("cap_drop"),
        security_opt: fields.texts("security_opt"),
        group_add: fields.texts("group_add"),
        hostname: fields.text("hostname"),
        domainname: fields.text("domainname"),
        user: fields.text("user"),
        working_dir: fields.text("working_dir"),
        stop_signal: fields.text("stop_signal"),
        stop_grace_period: fields.duration("stop_grace_period"),
        shm_size: fields.bytes("shm_size"),
        pid: fields.text("pid"),
        ipc: fields.text("ipc"),
        userns_mode: fields.text("userns_mode"),
        runtime: fields.text("runtime"),
        init: fields.boolean("init"),
        privileged: fields.flag("privileged"),
        read_only: fields.flag("read_only"),
        tty: fields.flag("tty"),
        stdin_open: fields.flag("stdin_open"),
    };
    fields.noted(&["attach"], "deploying follows no logs");
    function::apply(&fields, &mut service, deploy.labels, restart);
    contradictions(&fields, &service);
    fields.finish();
    Some((service, profiles))
}

fn pull_policy(fields: &Fields<'_>) -> PullPolicy {
    let word = fields.word(
        "pull_policy",
        &["missing", "if_not_present", "never", "always", "build"],
    );
    match word.as_deref() {
        Some("never") => PullPolicy::Never,
        Some("always") => PullPolicy::Always,
        Some("build") => PullPolicy::Build,
        _ => PullPolicy::Missing,
    }
}

fn logging(fields: &Fields<'_>) -> Option<Logging> {
    let inner = fields.inner("logging")?;
    let logging = Logging {
        driver: inner.text("driver"),
        options: inner.labels("options"),
    };
    inner.finish();
    Some(logging)
}

/// `extra_hosts` as `name:address`, from a list or a mapping.
pub(super) fn hosts(fields: &Fields<'_>) -> Vec<String> {
    let Some((node, path)) = fields.take("extra_hosts") else {
        return Vec::new();
    };
    match &node.value {
        Value::Mapping(_) => fields
            .labels("extra_hosts")
            .into_iter()
            .map(|(name, address)| format!("{name}:{address}"))
            .collect(),
        _ => fields
            .context
            .texts(node, &path)
            .into_iter()
            .map(|host| match host.split_once('=') {
                Some((name, address)) => {
                    format!("{name}:{}", address.trim_matches(['[', ']']))
                }
                None => host,
            })
            .collect(),
    }
}

/// Keys that cannot stand together.
fn contradictions(fields: &Fields<'_>, service: &Service) {
    let refuse = |key: &str, message: &str, hint: &str| {
        let path = format!("{}.{key}", fields.path);
        let path = path.trim_end_matches('.').to_owned();
        fields.context.refuse(
            Problem::new(message)
                .at(service.position_of(key), path)
                .hint(hint),
        );
    };
    if service.image.is_none() && service.build.is_none() {
        refuse(
            "",
            "neither image nor build is given",
            "name an image, or a directory with a Dockerfile under build",
        );
    }
    if service.network_mode.is_some() && !service.networks.is_empty() {
        refuse("network_mode", "contradicts networks", "keep one of the two");
    }
    if let Some(mode @ ("host" | "none")) = service.network_mode.as_deref()
        && !service.ports.is_empty()
    {
        refuse(
            "ports",
            &format!("nothing can be published with network_mode {mode}"),
            "remove ports, or network_mode",
        );
    }
    if service.container_name.is_some() && service.replicas > 1 {
        refuse(
            "container_name",
            "several containers cannot share one name",
            "remove container_name, or deploy.replicas",
        );
    }
    if service.pull_policy == PullPolicy::Build && service.build.is_none() {
        refuse(
            "pull_policy",
            "there is no build to build",
            "add build, or choose missing, always or never",
        );
    }
}
