//! From a template's `inspect` to the create body of an instance: what `docker start` of the template would give,
//! and only what DESIGN 3.1 names besides.
//!
//! The template's JSON is taken whole and a few fields are changed, rather than known fields copied one by one: a
//! field that a newer engine brings goes through untouched. Parsing takes some 30 µs where a start takes 185 ms, so
//! nothing parsed is kept between launches, and 1,000 functions cost no more than their text.

use std::time::Duration;

use serde_json::{Map, Value, json};
use skep_engine::{Launch, Stdio};
use skep_model::{Function, label};

use crate::environment;
use crate::networks::{Attachment, NetworkMode, attachments};

/// What Docker waits between the stop signal and the kill, unless the template says otherwise.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Where clients look for Docker.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// A template that can't be read as one; it names the part.
#[derive(Debug, thiserror::Error)]
#[error("the template's inspect has no {0}; remove the template and create it anew")]
pub struct Unreadable(&'static str);

/// A template, parsed.
#[derive(Debug)]
pub(crate) struct Definition {
    config: Map<String, Value>,
    host: Map<String, Value>,
    /// How it is networked.
    pub(crate) mode: NetworkMode,
    /// Its attachments, the first being the one it starts with.
    pub(crate) attachments: Vec<Attachment>,
    image: String,
    default_hostname: String,
}

impl Definition {
    pub(crate) fn read(function: &Function) -> Result<Self, Unreadable> {
        let mut inspect: Value =
            serde_json::from_str(&function.template.inspect).map_err(|_| Unreadable("JSON"))?;
        let mut take = |name: &'static str| match inspect.get_mut(name).map(Value::take) {
            Some(Value::Object(object)) => Ok(object),
            _ => Err(Unreadable(name)),
        };
        let (config, host, network) = (take("Config")?, take("HostConfig")?, take("NetworkSettings")?);
        let mode = NetworkMode::read(
            host.get("NetworkMode")
                .and_then(Value::as_str)
                .unwrap_or("default"),
        );
        let alone = function.settings.max == 1 && function.settings.spares == 0;
        let attachments = attachments(&mode, network.get("Networks"), alone);
        Ok(Self {
            config,
            host,
            mode,
            attachments,
            image: function.template.image_id.clone(),
            default_hostname: function.template.id.short().to_owned(),
        })
    }

    /// Whether it has a terminal.
    pub(crate) fn tty(&self) -> bool {
        self.config.get("Tty").and_then(Value::as_bool).unwrap_or(false)
    }

    /// A MAC address that was asked for by hand.
    pub(crate) fn mac_address(&self) -> Option<&str> {
        self.config
            .get("MacAddress")
            .and_then(Value::as_str)
            .filter(|address| !address.is_empty())
    }

    /// The environment as Docker keeps it, `NAME=VALUE`.
    pub(crate) fn environment(&self) -> impl Iterator<Item = &str> {
        self.config
            .get("Env")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// How long its processes have between the stop signal and the kill.
    pub(crate) fn grace(&self) -> Duration {
        let seconds = self.config.get("StopTimeout").and_then(Value::as_u64);
        seconds.map_or(DEFAULT_GRACE, Duration::from_secs)
    }

    /// The create body of one instance. `environment` goes over the template's own.
    pub(crate) fn body(
        mut self,
        launch: &Launch,
        owner: &str,
        environment: &[(String, String)],
        many_networks: bool,
    ) -> Created {
        let endpoints = endpoints(&self.attachments, many_networks);
        let later = if many_networks {
            Vec::new()
        } else {
            self.attachments.drain(1.min(self.attachments.len())..).collect()
        };
        self.shape_config(launch, owner, environment);
        self.shape_host();
        if let Some(socket) = &launch.socket {
            self.bind_socket(&socket.display().to_string());
        }
        let mut body = self.config;
        body.insert("HostConfig".into(), Value::Object(self.host));
        if !endpoints.is_empty() {
            body.insert("NetworkingConfig".into(), json!({ "EndpointsConfig": endpoints }));
        }
        Created {
            body: Value::Object(body),
            later,
        }
    }

    fn shape_config(&mut self, launch: &Launch, owner: &str, environment: &[(String, String)]) {
        let config = &mut self.config;
        let merged = environment::merged(config.get("Env"), environment);
        config.insert("Env".into(), merged.into());
        // Pinned: the tag may point elsewhere by now.
        config.insert("Image".into(), self.image.clone().into());
        // Docker shows an entrypoint that was emptied by hand as none at all; sent back as none, it would become the
        // image's again. The empty text is how its API says "empty".
        if config
            .get("Entrypoint")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
        {
            config.insert("Entrypoint".into(), json!([""]));
        }
        self.mode.shape_hostname(
            config,
            self.host.get("UTSMode").and_then(Value::as_str),
            &self.default_hostname,
        );
        if !self.attachments.iter().any(Attachment::alone) {
            config.remove("MacAddress");
        }
        let stdin = launch.stdio == Stdio::Pipe;
        config.insert("AttachStdin".into(), stdin.into());
        config.insert("AttachStdout".into(), true.into());
        config.insert("AttachStderr".into(), true.into());
        if stdin {
            config.insert("OpenStdin".into(), true.into());
            config.insert("StdinOnce".into(), true.into());
        }
        config.insert("Labels".into(), labels(config.get("Labels"), launch, owner));
    }

    /// Puts the instance's own socket where every Docker client looks for one.
    fn bind_socket(&mut self, socket: &str) {
        let bind = Value::from(format!("{socket}:{SOCKET}"));
        match self.host.get_mut("Binds") {
            Some(Value::Array(binds)) => binds.push(bind),
            _ => drop(self.host.insert("Binds".into(), json!([bind]))),
        }
    }

    fn shape_host(&mut self) {
        let host = &mut self.host;
        host.insert("AutoRemove".into(), false.into());
        host.insert(
            "RestartPolicy".into(),
            json!({ "Name": "no", "MaximumRetryCount": 0 }),
        );
        host.insert("PortBindings".into(), json!({}));
        host.insert("PublishAllPorts".into(), false.into());
        host.remove("ContainerIDFile");
        // A link is shown as /TARGET:/TEMPLATE/ALIAS and asked for as TARGET:ALIAS.
        if let Some(Value::Array(links)) = host.get_mut("Links") {
            for link in links {
                let asked = link
                    .as_str()
                    .and_then(|link| link.split_once(':'))
                    .map(|(target, alias)| {
                        let alias = alias.rsplit('/').next().unwrap_or(alias);
                        format!("{}:{alias}", target.trim_start_matches('/'))
                    });
                if let Some(asked) = asked {
                    *link = asked.into();
                }
            }
        }
    }
}

/// The create body of one more container of a function's template, for who starts it as something else than an
/// instance: labels are the caller's to set, and the streams. What comes beside it are the networks to connect
/// afterwards, by name, each with its endpoint's settings.
///
/// # Errors
/// The part of the template that can't be read.
pub fn template_body(
    function: &std::sync::Arc<Function>,
    environment: &[(String, String)],
    many_networks: bool,
) -> Result<(Value, Vec<(String, Value)>), Unreadable> {
    let launch = Launch {
        instance: skep_model::InstanceId::generate(),
        function: function.clone(),
        environment: Vec::new(),
        stdio: Stdio::Log,
        socket: None,
    };
    let mut created = Definition::read(function)?.body(&launch, "", environment, many_networks);
    if let Some(labels) = created.body.get_mut("Labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !key.starts_with("skep."));
    }
    let later = created.later.into_iter();
    let later = later.map(|attachment| (attachment.network, attachment.endpoint));
    Ok((created.body, later.collect()))
}

/// A create body, and the networks that an older engine wants connected one by one afterwards.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) body: Value,
    pub(crate) later: Vec<Attachment>,
}

fn endpoints(attachments: &[Attachment], many: bool) -> Map<String, Value> {
    let sent = if many { attachments.len() } else { 1 };
    let sent = attachments.iter().take(sent);
    sent.map(|attachment| (attachment.network.clone(), attachment.endpoint.clone()))
        .collect()
}

/// The template's labels without those that would make the instance a template, or a part of a Compose project.
fn labels(own: Option<&Value>, launch: &Launch, owner: &str) -> Value {
    let mut labels = Map::new();
    for (key, value) in own.and_then(Value::as_object).into_iter().flatten() {
        if !key.starts_with("skep.") && !key.starts_with("com.docker.compose.") {
            labels.insert(key.clone(), value.clone());
        }
    }
    labels.insert(label::OWNER.into(), owner.into());
    labels.insert(label::NAMESPACE.into(), launch.function.namespace.as_str().into());
    labels.insert(label::INSTANCE_OF.into(), launch.function.name.as_str().into());
    labels.insert(label::INSTANCE.into(), launch.instance.to_string().into());
    Value::Object(labels)
}
