//! What a child shows of itself: `inspect`, and its line in a list.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use skep_lean::RunningChild;

use super::child::{Doing, LeanChild, Status};
use super::{Lean, lock, networks};
use crate::shared::Shared;

/// What Docker shows for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `GET /containers/ID/json`, before the host's own is left out of it.
pub(super) async fn whole(shared: &Shared, lean: &Lean, child: &LeanChild, sized: bool) -> Value {
    let doing = child.doing();
    let mut value = child.inspect.clone();
    let time = |time: Option<Timestamp>| time.map_or(NEVER.to_owned(), |time| time.to_string());
    let pid = doing.running.as_ref().map_or(0, |running| running.process);
    value["State"] = json!({
        "Status": doing.status.word(), "Running": doing.status.runs(), "Paused": doing.status == Status::Paused,
        "Restarting": false, "OOMKilled": doing.out_of_memory, "Dead": false, "Pid": pid, "ExitCode": doing.code,
        "Error": doing.error, "StartedAt": time(doing.started), "FinishedAt": time(doing.finished),
    });
    value["Name"] = format!("/{}", lock(&child.name)).into();
    value["ExecIDs"] = lean.exec_ids(&child.id);
    size(child, sized, &mut value);
    value["NetworkSettings"] = shown_network(shared, lean, child, &doing).await;
    value
}

/// What Docker says of the sandbox that a child runs in.
pub(super) async fn network(shared: &Shared, lean: &Lean, running: &RunningChild) -> Option<Value> {
    let container = running.network_container()?;
    let known = lock(&lean.networks).get(container).cloned();
    if let Some(known) = known {
        return Some(known);
    }
    let settings = look(shared, container).await?;
    let mut networks = lock(&lean.networks);
    if networks.len() > 1000 {
        networks.clear();
    }
    // What was looked at anew meanwhile is newer.
    let kept = networks.entry(container.to_owned()).or_insert(settings);
    Some(kept.clone())
}

/// The same after it was changed.
pub(super) async fn changed_network(shared: &Shared, lean: &Lean, container: &str) {
    match look(shared, container).await {
        Some(settings) => lock(&lean.networks).insert(container.to_owned(), settings),
        None => lock(&lean.networks).remove(container),
    };
}

async fn look(shared: &Shared, container: &str) -> Option<Value> {
    let path = format!("/containers/{container}/json");
    let found = shared.daemon.ask(Method::GET, &path, None).await.ok()?;
    let mut settings = found.get("NetworkSettings")?.clone();
    let name = found.get("Name").and_then(Value::as_str).unwrap_or_default();
    for endpoint in settings.get_mut("Networks")?.as_object_mut()?.values_mut() {
        for list in ["Aliases", "DNSNames"] {
            if let Some(names) = endpoint.get_mut(list) {
                without_sandbox(names, container, name);
            }
        }
    }
    Some(settings)
}

/// Takes the sandbox's own names out of a list; what is left are the child's.
fn without_sandbox(names: &mut Value, container: &str, name: &str) {
    if let Some(own) = names.as_array_mut() {
        let is_sandbox = |own: &str| own == name.trim_start_matches('/') || container.starts_with(own);
        own.retain(|own| own.as_str().is_some_and(|own| !is_sandbox(own)));
        if own.is_empty() {
            *names = Value::Null;
        }
    }
}

/// What is still shown of a network when the child has ended.
pub(super) fn left(lean: &Lean, container: &str) -> Option<Value> {
    let mut settings = lock(&lean.networks).get(container)?.clone();
    blank(&mut settings);
    Some(settings)
}

fn blank(value: &mut Value) {
    for (name, value) in value.as_object_mut().into_iter().flatten() {
        match value {
            Value::Object(_) => blank(value),
            Value::String(text) if !matches!(name.as_str(), "SandboxID" | "NetworkID") => text.clear(),
            Value::Number(_) => *value = 0.into(),
            _ => {}
        }
    }
}

/// Its network as it is shown.
async fn shown_network(shared: &Shared, lean: &Lean, child: &LeanChild, doing: &Doing) -> Value {
    let made = || child.inspect["NetworkSettings"].clone();
    match &doing.running {
        Some(running) => network(shared, lean, running).await.unwrap_or_else(made),
        None => {
            let mut settings = doing.network.clone().unwrap_or_else(made);
            networks::show(child, &mut settings);
            settings
        }
    }
}

/// One entry of `GET /containers/json`.
pub(super) async fn summary(shared: &Shared, lean: &Lean, child: &Arc<LeanChild>, sized: bool) -> Value {
    let doing = child.doing();
    let settings = shown_network(shared, lean, child, &doing).await;
    let networks = settings.get("Networks").cloned().unwrap_or(json!({}));
    let mut entry = json!({
        "Id": child.id, "Names": [format!("/{}", lock(&child.name))],
        "Image": child.text("/Config/Image"), "ImageID": child.text("/Image"),
        "Command": command(child), "Created": child.created.as_second(), "Ports": [],
        "Labels": child.inspect.pointer("/Config/Labels").cloned().unwrap_or(json!({})),
        "State": doing.status.word(), "Status": status(&doing),
        "HostConfig": { "NetworkMode": child.text("/HostConfig/NetworkMode") },
        "NetworkSettings": { "Networks": networks }, "Mounts": child.inspect["Mounts"],
    });
    size(child, sized, &mut entry);
    entry
}

/// What its files take, where that is asked for.
fn size(child: &LeanChild, sized: bool, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    fields.remove("SizeRootFs");
    if sized {
        let image = child
            .inspect
            .get("SizeRootFs")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let used = child.used.load(Ordering::Relaxed);
        fields.insert("SizeRw".to_owned(), used.into());
        fields.insert("SizeRootFs".to_owned(), (image + used).into());
    }
}

fn command(child: &LeanChild) -> String {
    let mut words = vec![child.text("/Path").to_owned()];
    words.extend(child.texts("/Args").into_iter().map(|word| {
        if word.contains(' ') {
            format!("'{word}'")
        } else {
            word
        }
    }));
    words.join(" ")
}

/// `Up 3 seconds`, `Exited (0) 2 minutes ago`.
fn status(doing: &Doing) -> String {
    let since = |time: Option<Timestamp>| {
        let seconds = time.map_or(0, |time| Timestamp::now().as_second() - time.as_second());
        duration(seconds.max(0))
    };
    match doing.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", since(doing.started)),
        Status::Paused => format!("Up {} (Paused)", since(doing.started)),
        Status::Exited => format!("Exited ({}) {} ago", doing.code, since(doing.finished)),
        Status::Removed => "Removal In Progress".to_owned(),
    }
}

/// A length of time in Docker's words.
fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn lengths_of_time_are_said_as_docker_says_them() {
        for (seconds, said) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (125, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }
}
