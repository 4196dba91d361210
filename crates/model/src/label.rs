//! Labels: every key that Skep knows, and how a template's labels become [`Settings`].
//!
//! Nothing is silently defaulted: a key that Skep does not know, a value that can't be read, and two labels that
//! contradict each other each give a reason, and a template with a reason is not run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::name::{FunctionName, Namespace};
use crate::route::Route;
use crate::settings::{EngineChoice, Handler, PortChoice, Protocol, Ready, Recycle, SandboxChoice, Settings};
use crate::spawn::{self, Spawn};
use crate::template::Template;

/// The label that makes a parked container a function.
pub const FUNCTION: &str = "skep.function";
/// The label that says which Skep manages it.
pub const NAMESPACE: &str = "skep.namespace";
/// On every container that Skep makes: which Skep made it.
pub const OWNER: &str = "skep.owner";
/// On an instance's container: the function.
pub const INSTANCE_OF: &str = "skep.instance-of";
/// On an instance's container: the instance's id.
pub const INSTANCE: &str = "skep.instance";
/// On a sandbox's container: it holds what instances share, and is none itself.
pub const SANDBOX: &str = "skep.is-sandbox";
/// On a container that a function started through its socket: the function whose grant it came from.
pub const CHILD_OF: &str = "skep.child-of";
/// On such a container: the instance or the container whose socket it came through.
pub const PARENT: &str = "skep.parent";
/// On such a container: the invocation, where the parent served one alone.
pub const INVOCATION: &str = "skep.invocation";
/// On an ordinary service that `skep deploy` started: its name. It may call functions.
pub const SERVICE: &str = "skep.service";

mod values;

use values::{boolean, number, one_of, port, ready, recycle, routes};
pub use values::{bytes, duration};

const PREFIX: &str = "skep.";

/// The labels that say how a function runs; each becomes the field of [`Settings`] with its name.
pub const SETTINGS: [&str; 30] = [
    "skep.handler",
    "skep.route",
    "skep.strip",
    "skep.port",
    "skep.protocol",
    "skep.ready",
    "skep.recycle",
    "skep.concurrency",
    "skep.spares",
    "skep.max",
    "skep.queue",
    "skep.async",
    "skep.backlog",
    "skep.idle",
    "skep.timeout",
    "skep.engine",
    "skep.sandbox",
    "skep.sandboxes",
    "skep.slots",
    "skep.disk",
    "skep.spawn",
    "skep.spawn.max",
    "skep.spawn.total",
    "skep.spawn.depth",
    "skep.spawn.memory",
    "skep.spawn.cpus",
    "skep.spawn.life",
    "skep.spawn.networks",
    "skep.spawn.volumes",
    "skep.spawn.ports",
];

/// A template's name, namespace and settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) name: FunctionName,
    pub(crate) namespace: Namespace,
    pub(crate) settings: Settings,
}

/// The labels that count: an image can't deploy itself or grant itself anything, so those labels with which it
/// could are left out where the image carries the same key and value (DESIGN 3.1).
pub fn effective(
    labels: &BTreeMap<String, String>,
    image: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let from_image = |key: &str, value: &str| image.get(key).is_some_and(|own| own == value);
    let granting = |key: &str| {
        matches!(key, FUNCTION | NAMESPACE | "skep.route" | "skep.engine")
            || key == "skep.spawn"
            || key.starts_with("skep.spawn.")
    };
    labels
        .iter()
        .filter(|(key, value)| key.starts_with(PREFIX) && !(granting(key) && from_image(key, value)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// What `skep.function` says on this template, where the deployer said it and Skep did not make the container.
pub fn function_name(template: &Template) -> Option<String> {
    let labels = effective(&template.labels, &template.image_labels);
    if labels.contains_key(OWNER) {
        None
    } else {
        labels.get(FUNCTION).cloned()
    }
}

/// What `skep.namespace` says on this template; `default` where it says nothing.
pub fn namespace(template: &Template) -> String {
    let mut labels = effective(&template.labels, &template.image_labels);
    labels.remove(NAMESPACE).unwrap_or_else(|| "default".to_owned())
}

/// Reads every label of a template; what is wrong is added to `reasons`.
pub(crate) fn parse(template: &Template, reasons: &mut Vec<String>) -> Option<Parsed> {
    let labels = effective(&template.labels, &template.image_labels);
    let mut reader = Reader {
        labels: &labels,
        reasons,
    };
    reader.refuse_unknown();
    let name = reader.name(FUNCTION);
    let namespace = reader.value_or(NAMESPACE, Namespace::default(), |text| {
        text.parse::<Namespace>().map_err(|error| error.to_string())
    });
    let settings = reader.settings(template, name.as_ref());
    reader.refuse_contradictions(&settings);
    Some(Parsed {
        name: name?,
        namespace,
        settings,
    })
}

struct Reader<'a> {
    labels: &'a BTreeMap<String, String>,
    reasons: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn refuse_unknown(&mut self) {
        for key in self.labels.keys() {
            if !matches!(key.as_str(), FUNCTION | NAMESPACE | SERVICE) && !SETTINGS.contains(&key.as_str()) {
                self.reasons.push(match nearest(key) {
                    Some(known) => format!("{key}: no such label; did you mean {known}?"),
                    None => format!("{key}: no such label"),
                });
            }
        }
    }

    fn name(&mut self, key: &str) -> Option<FunctionName> {
        let text = self.labels.get(key)?;
        text.parse()
            .map_err(|error| self.reasons.push(format!("{key}={text}: {error}")))
            .ok()
    }

    /// The label's value through `read`, or the default where there is none or it can't be read (with a reason).
    fn value_or<T>(&mut self, key: &str, default: T, read: impl Fn(&str) -> Result<T, String>) -> T {
        let Some(text) = self.labels.get(key) else {
            return default;
        };
        match read(text) {
            Ok(value) => value,
            Err(error) => {
                self.reasons.push(format!("{key}={text}: {error}"));
                default
            }
        }
    }

    fn settings(&mut self, template: &Template, name: Option<&FunctionName>) -> Settings {
        Settings {
            handler: self.value_or("skep.handler", Handler::Http, |text| {
                one_of(
                    text,
                    &[
                        ("http", Handler::Http),
                        ("cgi", Handler::Cgi),
                        ("exec", Handler::Exec),
                    ],
                )
            }),
            routes: self.value_or("skep.route", default_route(name), routes),
            strip: self.value_or("skep.strip", true, boolean),
            port: self.value_or("skep.port", default_port(template), |text| {
                port(text).map(PortChoice::Fixed)
            }),
            protocol: self.value_or("skep.protocol", Protocol::Http1, |text| {
                one_of(text, &[("http1", Protocol::Http1), ("h2c", Protocol::H2c)])
            }),
            ready: self.value_or("skep.ready", Ready::Connect, ready),
            recycle: self.value_or("skep.recycle", Recycle::Request, recycle),
            concurrency: self.value_or("skep.concurrency", 1, |text| number(text, 1..=10_000)),
            spares: self.value_or("skep.spares", 0, |text| number(text, 0..=10_000)),
            max: self.value_or("skep.max", 64, |text| number(text, 1..=100_000)),
            queue: self.value_or("skep.queue", 256, |text| number(text, 0..=1_000_000)),
            asynchronous: self.value_or("skep.async", true, boolean),
            backlog: self.value_or("skep.backlog", 100_000, |text| number(text, 0..=100_000_000)),
            idle: self.value_or("skep.idle", Duration::from_secs(60), duration),
            timeout: self.value_or("skep.timeout", Duration::from_secs(30), duration),
            engine: self.value_or("skep.engine", EngineChoice::Auto, |text| {
                let known = [
                    ("auto", EngineChoice::Auto),
                    ("lean", EngineChoice::Lean),
                    ("docker", EngineChoice::Docker),
                ];
                one_of(text, &known)
            }),
            sandbox: self.value_or("skep.sandbox", SandboxChoice::Shared, |text| {
                one_of(
                    text,
                    &[
                        ("shared", SandboxChoice::Shared),
                        ("private", SandboxChoice::Private),
                    ],
                )
            }),
            sandboxes: self.value_or("skep.sandboxes", 0, |text| number(text, 0..=10_000)),
            slots: self.value_or("skep.slots", 16, |text| number(text, 1..=10_000)),
            disk: self.value_or("skep.disk", 256 << 20, bytes),
            spawn: self.spawn(),
        }
    }

    /// The grant, where there is one; its companions say nothing without it.
    fn spawn(&mut self) -> Option<Spawn> {
        if !self.labels.contains_key("skep.spawn") {
            let companion = self.labels.keys().find(|key| key.starts_with("skep.spawn."));
            if let Some(companion) = companion {
                self.reasons.push(format!(
                    "{companion} is for functions with skep.spawn; name what it may start"
                ));
            }
            return None;
        }
        let usual = Spawn::default();
        Some(Spawn {
            may_start: self.value_or("skep.spawn", Vec::new(), spawn::may_start),
            max: self.value_or("skep.spawn.max", usual.max, |text| number(text, 1..=100_000)),
            total: self.value_or("skep.spawn.total", usual.total, |text| {
                number(text, 1..=1_000_000_000)
            }),
            depth: self.value_or("skep.spawn.depth", usual.depth, |text| number(text, 1..=16)),
            memory: self.value_or("skep.spawn.memory", usual.memory, bytes),
            nano_cpus: self.value_or("skep.spawn.cpus", usual.nano_cpus, spawn::cpus),
            life: self.value_or("skep.spawn.life", usual.life, duration),
            networks: self.value_or("skep.spawn.networks", Vec::new(), spawn::names),
            volumes: self.value_or("skep.spawn.volumes", Vec::new(), spawn::names),
            ports: self.value_or("skep.spawn.ports", Vec::new(), spawn::ports),
        })
    }

    fn refuse_contradictions(&mut self, settings: &Settings) {
        let given = |key: &str| self.labels.contains_key(key);
        let mut found = Vec::new();
        if settings.handler != Handler::Http {
            let handler = if settings.handler == Handler::Cgi {
                "cgi"
            } else {
                "exec"
            };
            for key in [
                "skep.port",
                "skep.protocol",
                "skep.ready",
                "skep.concurrency",
                "skep.idle",
            ] {
                if given(key) {
                    found.push(format!("{key} is for http functions; skep.handler is {handler}"));
                }
            }
            if settings.spares > 0 {
                found.push(format!(
                    "skep.spares needs an instance that waits for work; skep.handler={handler} runs once"
                ));
            }
            if settings.recycle != Recycle::Request {
                found.push(format!(
                    "skep.recycle needs an instance that serves again; skep.handler={handler} runs once"
                ));
            }
        }
        if settings.concurrency > 1 && settings.recycle == Recycle::Request {
            found.push(
                "skep.concurrency is for reused instances; set skep.recycle=idle or a number".to_owned(),
            );
        }
        if settings.spares > settings.max {
            let (spares, max) = (settings.spares, settings.max);
            found.push(format!(
                "skep.spares={spares} is more than skep.max={max}, and spares count as instances"
            ));
        }
        self.reasons.extend(found);
    }
}

fn default_route(name: Option<&FunctionName>) -> Vec<Route> {
    name.map(|name| Route {
        host: None,
        prefix: format!("/{name}"),
    })
    .into_iter()
    .collect()
}

fn default_port(template: &Template) -> PortChoice {
    match (template.exposed_tcp.as_slice(), &template.port_variable) {
        ([only], None) => PortChoice::Fixed(*only),
        _ => PortChoice::Assigned,
    }
}

/// The known label closest to a mistyped one, if one is close.
fn nearest(key: &str) -> Option<&'static str> {
    let known = SETTINGS.into_iter().chain([FUNCTION, NAMESPACE]);
    known
        .map(|label| (distance(key, label), label))
        .filter(|(far, _)| *far <= 2)
        .min()
        .map(|(_, label)| label)
}

/// Levenshtein's distance: how many characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
