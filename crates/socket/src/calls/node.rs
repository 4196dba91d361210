//! What this engine says of itself: little, and in the shape that clients read.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Context;
use crate::answer::{Answer, full, json as answer_json};

/// What `GET /info` says of every function's engine.
const INFO: &str = include_str!("info.json");

/// `/_ping`.
pub(super) fn ping() -> Answer {
    let mut answer = Answer::new(full("OK"));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    answer
}

/// `GET /version`.
pub(super) fn version(context: &Context) -> Answer {
    let shared = &context.shared;
    let text = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    let (newest, oldest) = (text(shared.daemon.version), text(shared.oldest_version));
    let engine = &shared.engine_version;
    let architecture = architecture();
    let value = json!({
        "Platform": { "Name": "Skep" },
        "Components": [{
            "Name": "Engine", "Version": engine,
            "Details": { "ApiVersion": newest, "MinAPIVersion": oldest, "Os": "linux", "Arch": architecture },
        }],
        "Version": engine, "ApiVersion": newest, "MinAPIVersion": oldest, "GitCommit": "", "GoVersion": "",
        "Os": "linux", "Arch": architecture, "KernelVersion": "", "BuildTime": "",
    });
    answer_json(StatusCode::OK, &value)
}

pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `GET /info`.
pub(super) async fn info(context: &Context) -> Answer {
    use crate::child::State;
    let (shared, holder) = (&context.shared, &context.holder);
    let all: Vec<_> = shared.children().all().cloned().collect();
    let mine: Vec<_> = all.iter().filter(|child| holder.sees(shared, child)).collect();
    let running = mine.iter().filter(|child| child.state == State::Running).count();
    // Those of other nodes, where there are some.
    let lists = context.ask_all(Method::GET, "/containers/json?all=1").await;
    let entries = lists.iter().filter_map(|(_, list)| list.as_array()).flatten();
    let states: Vec<_> = entries.filter_map(|entry| entry.get("State")?.as_str()).collect();
    let runs = |state: &&&str| matches!(**state, "running" | "paused");
    let (count, running) = (
        mine.len() + states.len(),
        running + states.iter().filter(runs).count(),
    );
    let cpus = holder.spawn.nano_cpus.div_ceil(1_000_000_000);
    let mut value: Value = serde_json::from_str(INFO).unwrap_or_default();
    for (name, said) in [
        ("Name", holder.function.as_str().into()),
        ("ServerVersion", shared.engine_version.as_str().into()),
        ("Containers", count.into()),
        ("ContainersRunning", running.into()),
        ("ContainersStopped", (count - running).into()),
        ("Images", holder.spawn.may_start.len().into()),
        ("Architecture", std::env::consts::ARCH.into()),
        ("NCPU", cpus.into()),
        ("MemTotal", holder.spawn.memory.into()),
        ("SystemTime", jiff::Timestamp::now().to_string().into()),
    ] {
        value[name] = said;
    }
    answer_json(StatusCode::OK, &value)
}
