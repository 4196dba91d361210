//! `POST /containers/create`: read into a type that knows only what is allowed, and written afresh.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skep_model::Spawn;

use crate::fields::Fields;
use crate::host::{Host, PORTS};
use crate::json::Json;
use crate::mounts;
use crate::network::NetworkAsked;
use crate::refusal::Refusal;
use crate::tables;

/// The most labels of a child, and the bytes of all of them.
const LABELS: usize = 256;
const LABELLED: usize = 16 << 10;

/// What a child is to be, as far as a request may say so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Create {
    /// The image or the function, as it was named.
    pub image: String,
    /// The command.
    pub command: Option<Vec<String>>,
    /// The entrypoint; `[]` and `[""]` empty the image's own.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value`, over the image's or the template's.
    pub environment: Vec<String>,
    /// Its own labels, none of them Skep's or Docker's.
    pub labels: BTreeMap<String, String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is open.
    pub open_stdin: bool,
    /// Whether that ends with the first client.
    pub stdin_once: bool,
    /// Standard input, output and error.
    pub attach: [bool; 3],
    /// A host name that was asked for.
    pub hostname: String,
    /// The user that it runs as; empty for the image's.
    pub user: String,
    /// The working directory; empty for the image's.
    pub directory: String,
    /// What it asks of the host.
    pub host: Host,
    /// The network that it asks for.
    pub network: NetworkAsked,
    domain: String,
    stop_signal: String,
    stop_timeout: Option<i64>,
    exposed: Vec<String>,
    volumes: Vec<String>,
    health: Option<Health>,
}

#[derive(Debug, Clone, PartialEq)]
struct Health {
    test: Vec<String>,
    times: [(&'static str, i64); 5],
}

/// What was settled about a child beyond its own request.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// The image, by a name that was granted.
    pub image: String,
    /// `HostConfig.NetworkMode`.
    pub network: String,
    /// Who it belongs to: every label that Skep sets, so that none can be an image's.
    pub labels: BTreeMap<String, String>,
    /// Its share, where it asked for none itself.
    pub memory: Option<i64>,
    /// The same, in billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// The cgroup that bounds all children of the function together.
    pub cgroup_parent: Option<String>,
}

impl Create {
    /// Reads a body.
    ///
    /// # Errors
    /// What it says that is not granted, or can't be understood.
    pub fn parse(body: Json, spawn: &Spawn) -> Result<Self, Refusal> {
        let mut body = Fields::of("", body)?;
        let mut host = body.object("HostConfig")?;
        let mut networking = body.object("NetworkingConfig")?;
        let disabled = body.flag("NetworkDisabled")?;
        let network = NetworkAsked::read(&host.text("NetworkMode")?, &mut networking, disabled, spawn)?;
        networking.finish()?;
        let create = Self {
            network,
            host: Host::read(host, spawn)?,
            image: body.text("Image")?,
            command: body.command("Cmd")?,
            entrypoint: body.command("Entrypoint")?,
            environment: body.texts("Env")?,
            labels: labels(body.pairs("Labels")?)?,
            tty: body.flag("Tty")?,
            open_stdin: body.flag("OpenStdin")?,
            stdin_once: body.flag("StdinOnce")?,
            attach: [
                body.flag("AttachStdin")?,
                body.flag("AttachStdout")?,
                body.flag("AttachStderr")?,
            ],
            hostname: body.text("Hostname")?,
            domain: body.text("Domainname")?,
            user: body.text("User")?,
            directory: body.text("WorkingDir")?,
            stop_signal: body.text("StopSignal")?,
            stop_timeout: body.bounded("StopTimeout", 0..=3600, "at most an hour")?,
            exposed: body
                .set("ExposedPorts")?
                .iter()
                .map(|port| mounts::port(port))
                .collect::<Result<_, _>>()?,
            volumes: mounts::anonymous(&mut body)?,
            health: Health::read(body.object("Healthcheck")?)?,
        };
        if body.maybe_texts("Shell")?.is_some_and(|shell| !shell.is_empty()) {
            return Err(Refusal::forbidden("Shell: nothing is built through this socket"));
        }
        // dockerode repeats here what it says in the query, where alone it is read.
        for repeated in ["name", "platform"] {
            body.text(repeated)?;
        }
        body.neutral(tables::CONFIG)?;
        body.finish()?;
        if create.exposed.len() > PORTS {
            return Err(Refusal::forbidden(format!("ExposedPorts: at most {PORTS}")));
        }
        Ok(create)
    }

    /// Checks that nothing is asked for that the template of a function has settled: a request may say what it runs
    /// with (command, environment), not what it runs as.
    ///
    /// # Errors
    /// The field that is not the request's to say.
    pub fn over_template(&self) -> Result<(), Refusal> {
        let said = [
            ("Entrypoint", self.entrypoint.is_some()),
            ("User", !self.user.is_empty()),
            ("WorkingDir", !self.directory.is_empty()),
            ("Hostname", !self.hostname.is_empty() || !self.domain.is_empty()),
            ("Volumes", !self.volumes.is_empty()),
            ("Healthcheck", self.health.is_some()),
            ("StopSignal", !self.stop_signal.is_empty()),
            ("the network", self.network != NetworkAsked::Parents),
        ];
        if let Some((field, _)) = said.iter().find(|(_, said)| *said) {
            return Err(settled(&self.image, field));
        }
        match self.host.asked() {
            Some(field) => Err(settled(&self.image, &field)),
            None => Ok(()),
        }
    }

    /// The create body for the daemon.
    pub fn body(&self, settled: &Settled) -> Value {
        let mut out = Map::new();
        let mut set = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
        for (name, text) in [
            ("Image", &settled.image),
            ("Hostname", &self.hostname),
            ("Domainname", &self.domain),
            ("User", &self.user),
            ("WorkingDir", &self.directory),
        ] {
            set(name, text.as_str().into());
        }
        set("Cmd", self.command.clone().into());
        set("Entrypoint", self.entrypoint.clone().into());
        set("Env", self.environment.clone().into());
        set("Tty", self.tty.into());
        set("OpenStdin", self.open_stdin.into());
        set("StdinOnce", self.stdin_once.into());
        for (name, attached) in ["AttachStdin", "AttachStdout", "AttachStderr"]
            .iter()
            .zip(self.attach)
        {
            set(name, attached.into());
        }
        if !self.stop_signal.is_empty() {
            set("StopSignal", self.stop_signal.as_str().into());
        }
        if let Some(seconds) = self.stop_timeout {
            set("StopTimeout", seconds.into());
        }
        set("ExposedPorts", mounts::as_set(&self.exposed));
        set("Volumes", mounts::as_set(&self.volumes));
        if let Some(health) = &self.health {
            set("Healthcheck", health.written());
        }
        let mut labels = self.labels.clone();
        labels.extend(settled.labels.clone());
        set("Labels", json!(labels));
        let mut host = self.host.written();
        host.insert("NetworkMode".to_owned(), settled.network.as_str().into());
        self.bound(&mut host, settled);
        set("HostConfig", Value::Object(host));
        Value::Object(out)
    }

    /// Whether it names what only its own node has: a volume, a port of the host, a network, another child's network.
    pub fn is_of_its_node(&self) -> bool {
        self.host.is_of_its_node()
            || matches!(self.network, NetworkAsked::Named(_) | NetworkAsked::Sibling(_))
    }

    /// The request itself, written afresh: read again, it is this.
    pub fn written(&self) -> Value {
        let settled = Settled {
            image: self.image.clone(),
            network: self.network.written(),
            ..Settled::default()
        };
        let mut body = self.body(&settled);
        if let Some(host) = body.get_mut("HostConfig").and_then(Value::as_object_mut) {
            // Skep's own to say, wherever the child is made.
            host.remove("LogConfig");
            self.host.ask(host);
        }
        body
    }

    /// What bounds a child, whatever else it is made from: memory, CPUs, its log.
    pub fn bound(&self, host: &mut Map<String, Value>, settled: &Settled) {
        let mut set = |name: &str, value: Value| drop(host.insert(name.to_owned(), value));
        if let Some(memory) = self.host.memory.or(settled.memory) {
            set("Memory", memory.into());
            // Swap would be memory beyond the grant.
            set("MemorySwap", memory.into());
        }
        if let Some(cpus) = self.host.nano_cpus.or(settled.nano_cpus) {
            set("NanoCpus", cpus.into());
        }
        if let Some(parent) = &settled.cgroup_parent {
            set("CgroupParent", parent.as_str().into());
        }
        set(
            "LogConfig",
            json!({ "Type": "json-file", "Config": { "max-size": "8m", "max-file": "2" } }),
        );
    }
}

fn settled(function: &str, field: &str) -> Refusal {
    Refusal::forbidden(format!(
        "{field}: {function} is a function, and its template has settled that; \
         command, environment, labels and streams are the request's"
    ))
}

/// Labels of a child's own. Those of Skep say who it belongs to, those of Docker make it a part of other things.
fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if labels.len() > LABELS || bytes > LABELLED {
        return Err(Refusal::forbidden(format!(
            "Labels: at most {LABELS} of them, and {LABELLED} bytes in all: each event of a child repeats them"
        )));
    }
    for key in labels.keys() {
        let lower = key.to_lowercase();
        if let Some(prefix) = ["skep.", "com.docker."]
            .iter()
            .find(|prefix| lower.starts_with(*prefix))
        {
            return Err(Refusal::forbidden(format!(
                "Labels: {key:?} begins with {prefix}, and labels under that are not a child's to set"
            )));
        }
    }
    Ok(labels)
}

impl Health {
    fn read(mut health: Fields) -> Result<Option<Self>, Refusal> {
        let test = health.texts("Test")?;
        let mut times = [
            ("Interval", 0),
            ("Timeout", 0),
            ("StartPeriod", 0),
            ("StartInterval", 0),
            ("Retries", 0),
        ];
        for (name, value) in &mut times {
            *value = health.bounded(name, 0..=i64::MAX, "not negative")?.unwrap_or(0);
        }
        // In nanoseconds. The daemon makes one check of a container at a time, whatever is said here.
        for (name, value) in &times[..4] {
            if (1..1_000_000).contains(value) {
                return Err(Refusal::malformed(format!(
                    "{name} in Healthcheck cannot be less than 1ms"
                )));
            }
        }
        health.finish()?;
        // A check of which nothing is said is the image's own.
        let said = !test.is_empty() || times.iter().any(|(_, value)| *value != 0);
        Ok(said.then_some(Self { test, times }))
    }

    fn written(&self) -> Value {
        let mut out = Map::new();
        if !self.test.is_empty() {
            out.insert("Test".to_owned(), self.test.clone().into());
        }
        for (name, value) in self.times {
            if value != 0 {
                out.insert(name.to_owned(), value.into());
            }
        }
        Value::Object(out)
    }
}
