//! From the model's types to what the control listener says.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_model::settings::Settings;
use skep_model::{
    Ending, EngineChoice, Function, Handler, Invalid, PortChoice, Protocol, Ready, Record, Recycle,
    SandboxChoice,
};

use crate::api;

/// A function in force; the counts and the engine are the caller's to fill in.
pub fn function(function: &Function) -> api::Function {
    api::Function {
        name: function.name.to_string(),
        state: api::FunctionState::Ready,
        reasons: Vec::new(),
        template: function.template.id.short().to_owned(),
        template_name: function.template.name.clone(),
        revision: Some(function.revision.to_string()),
        handler: Some(function.settings.handler),
        engine: None,
        fallback: Vec::new(),
        routes: function.settings.routes.iter().map(ToString::to_string).collect(),
        image: Some(function.template.image.clone()),
        created: Some(function.template.created),
        instances: 0,
        running: 0,
        queued: 0,
    }
}

/// A template that can't be run.
pub fn invalid(invalid: &Invalid) -> api::Function {
    api::Function {
        name: invalid.name.clone(),
        state: api::FunctionState::Invalid,
        reasons: invalid.reasons.clone(),
        template: invalid.template.short().to_owned(),
        template_name: invalid.template_name.clone(),
        revision: None,
        handler: None,
        engine: None,
        fallback: Vec::new(),
        routes: Vec::new(),
        image: None,
        created: None,
        instances: 0,
        running: 0,
        queued: 0,
    }
}

/// A record.
pub fn invocation(record: &Record) -> api::Invocation {
    let phases = record.phases.iter();
    api::Invocation {
        id: record.id.to_string(),
        function: record.function.clone(),
        revision: record.revision.clone(),
        parent: record.parent.map(|id| id.to_string()),
        trigger: record.trigger,
        status: record.status,
        method: record.method.clone(),
        path: record.path.clone(),
        received: record.received,
        started: record.started,
        ended: record.ended,
        instance: record.instance.map(|id| id.to_string()),
        node: record.node.clone(),
        phases: phases
            .map(|(phase, time)| (phase.as_str().to_owned(), milliseconds(time)))
            .collect(),
        attempts: record.attempts,
        ending: record.ending.as_ref().map(ending),
    }
}

fn ending(ending: &Ending) -> api::Ending {
    api::Ending {
        kind: ending.kind,
        problem: ending.problem,
        exit_code: ending.exit_code,
        http_status: ending.http_status,
        detail: ending.detail.clone(),
    }
}

/// Milliseconds, to the microsecond: finer than anything that is measured here.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// As a label says it: in the largest unit that needs no fraction.
fn bytes(bytes: u64) -> String {
    let units = [(1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")];
    let fitting = units
        .iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    fitting.map_or_else(
        || bytes.to_string(),
        |(unit, letter)| format!("{}{letter}", bytes / unit),
    )
}

/// Every setting as the label that would say it.
pub fn settings(settings: &Settings) -> BTreeMap<String, String> {
    let routes = settings
        .routes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let mut labels = BTreeMap::new();
    let mut label = |name: &str, value: String| labels.insert(format!("skep.{name}"), value);
    label("handler", handler(settings.handler).to_owned());
    label(
        "route",
        if routes.is_empty() {
            "none".to_owned()
        } else {
            routes
        },
    );
    label("strip", settings.strip.to_string());
    label("max", settings.max.to_string());
    label("queue", settings.queue.to_string());
    label("async", settings.asynchronous.to_string());
    label("backlog", settings.backlog.to_string());
    label("timeout", duration(settings.timeout));
    label("engine", engine(settings.engine).to_owned());
    label(
        "sandbox",
        if settings.sandbox == SandboxChoice::Shared {
            "shared"
        } else {
            "private"
        }
        .to_owned(),
    );
    label("sandboxes", settings.sandboxes.to_string());
    label("slots", settings.slots.to_string());
    label("disk", bytes(settings.disk));
    if let Some(spawn) = &settings.spawn {
        label("spawn", spawn.may_start.join(","));
        label("spawn.max", spawn.max.to_string());
        label("spawn.total", spawn.total.to_string());
        label("spawn.depth", spawn.depth.to_string());
        label("spawn.memory", bytes(spawn.memory));
        label("spawn.cpus", (spawn.nano_cpus as f64 / 1e9).to_string());
        label("spawn.life", duration(spawn.life));
        let ports: Vec<String> = spawn.ports.iter().map(ToString::to_string).collect();
        for (name, list) in [
            ("networks", &spawn.networks),
            ("volumes", &spawn.volumes),
            ("ports", &ports),
        ] {
            if !list.is_empty() {
                label(&format!("spawn.{name}"), list.join(","));
            }
        }
    }
    // The rest contradicts any other handler, and would be refused if it were written there.
    if settings.handler == Handler::Http {
        label("port", port(settings.port));
        label(
            "protocol",
            if settings.protocol == Protocol::Http1 {
                "http1"
            } else {
                "h2c"
            }
            .to_owned(),
        );
        label("ready", ready(&settings.ready));
        label("recycle", recycle(settings.recycle));
        label("concurrency", settings.concurrency.to_string());
        label("spares", settings.spares.to_string());
        label("idle", duration(settings.idle));
    }
    labels
}

/// The word for a handler.
pub fn handler(handler: Handler) -> &'static str {
    match handler {
        Handler::Http => "http",
        Handler::Cgi => "cgi",
        Handler::Exec => "exec",
    }
}

fn engine(engine: EngineChoice) -> &'static str {
    match engine {
        EngineChoice::Auto => "auto",
        EngineChoice::Lean => "lean",
        EngineChoice::Docker => "docker",
    }
}

fn port(port: PortChoice) -> String {
    match port {
        PortChoice::Assigned => "$PORT".to_owned(),
        PortChoice::Fixed(port) => port.to_string(),
    }
}

fn ready(ready: &Ready) -> String {
    match ready {
        Ready::Connect => "a TCP connect".to_owned(),
        Ready::Path(path) => path.clone(),
    }
}

fn recycle(recycle: Recycle) -> String {
    match recycle {
        Recycle::Request => "request".to_owned(),
        Recycle::Idle => "idle".to_owned(),
        Recycle::After(count) => count.to_string(),
    }
}

/// A length of time as labels write it: `1h30m`, `90ms`.
fn duration(time: Duration) -> String {
    let mut rest = time.as_nanos();
    let mut text = String::new();
    for (unit, nanoseconds) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        let amount = rest / nanoseconds;
        if amount > 0 {
            text.push_str(&format!("{amount}{unit}"));
            rest %= nanoseconds;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_reads_back_as_the_label_it_came_from() {
        for text in ["30s", "1m30s", "1h", "500ms", "1h1ms"] {
            assert_eq!(duration(skep_model::label::duration(text).unwrap()), text);
        }
    }

    #[test]
    fn a_size_is_said_as_a_label_would() {
        let said = [0, 1, 1023, 1024, 256 << 20, (1 << 30) + 1024, 3 << 30].map(bytes);
        assert_eq!(said, ["0", "1", "1023", "1k", "256m", "1048577k", "3g"]);
    }
}
