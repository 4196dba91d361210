//! What children have on the node's disk: measured now and then, because Docker bounds it on few storage drivers.
//!
//! A child over `skep.disk` is stopped, and neither starts again nor takes files. What all of a function's children
//! hold together, ended ones included, is bounded by that for each of `skep.spawn.max`: the oldest ended go first.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use skep_model::Function;

use crate::child::{Child, State};
use crate::labels::Marks;
use crate::shared::Shared;

/// How often what runs is measured.
pub(crate) const PERIOD: Duration = Duration::from_secs(5);
/// What the log of a child may hold beside its files, with a little room for its last lines.
const LOG: u64 = 17 << 20;
/// What an entry of a folder counts for, however little is in it.
const ENTRY: u64 = 512;

/// Measures those of which the size may have changed, and acts on it.
pub(crate) async fn look(shared: &Arc<Shared>) {
    let changing: Vec<Child> = {
        let children = shared.children();
        let changing = children
            .all()
            .filter(|child| child.disk.is_none() || !matches!(child.state, State::Exited(_)))
            // What those of lean write is in memory, and bounded there.
            .filter(|child| !shared.is_lean(&child.id));
        changing.cloned().collect()
    };
    for child in changing {
        let Some(limit) = limit(shared, &child.marks) else {
            continue;
        };
        let path = format!("/containers/{}/json?size=1", child.id);
        let Ok(inspect) = shared.daemon.ask(Method::GET, &path, None).await else {
            continue;
        };
        let granted = shared.function(child.marks.function.as_str());
        let volumes = granted.and_then(|function| function.settings.spawn.clone());
        let named = volumes.map(|spawn| spawn.volumes).unwrap_or_default();
        let beside = places(&inspect, &named);
        let measuring = tokio::task::spawn_blocking(move || measured(&beside, limit));
        let beside = measuring.await.unwrap_or(0);
        let layer = inspect.get("SizeRw").and_then(Value::as_u64).unwrap_or(0);
        act(shared, &child, layer.saturating_add(beside), limit).await;
    }
    for id in overweight(shared) {
        shared.end(&id).await;
    }
}

async fn act(shared: &Shared, child: &Child, size: u64, limit: u64) {
    let is_over = size > limit + LOG;
    {
        let mut children = shared.children();
        let Some(known) = children.get_mut(&child.id) else {
            return;
        };
        // What ended while it was measured is measured once more.
        let settled = known.state == child.state;
        known.disk = settled.then_some(size);
        known.over = is_over
            .then(|| format!("it has {size} bytes on the disk, and skep.disk allows {limit} beside its log"));
        if !is_over || known.state != State::Running {
            return;
        }
    }
    tracing::warn!(
        container = child.id,
        size,
        limit,
        "a child is stopped: it wrote more than skep.disk"
    );
    let path = format!("/containers/{}/kill", child.id);
    if let Err(refusal) = shared.daemon.ask(Method::POST, &path, None).await {
        tracing::warn!(container = child.id, %refusal, "a child that wrote too much could not be stopped");
    }
}

/// The bytes that one child may have: as its template's function has it, else as the function that started it.
fn limit(shared: &Shared, marks: &Marks) -> Option<u64> {
    let own = marks.of_template.then(|| shared.function(&marks.asked)).flatten();
    let function = own.or_else(|| shared.function(marks.function.as_str()));
    function.as_deref().map(allowed)
}

fn allowed(function: &Function) -> u64 {
    function.settings.disk
}

/// The ended children whose end makes room, where a function's children hold too much together.
fn overweight(shared: &Shared) -> Vec<String> {
    let children = shared.children();
    let mut surplus = Vec::new();
    for function in children.functions() {
        let Some(settings) = shared
            .function(function.as_str())
            .map(|found| found.settings.clone())
        else {
            continue;
        };
        let most = settings.spawn.map_or(1, |spawn| u64::from(spawn.max));
        let bound = settings.disk.saturating_add(LOG).saturating_mul(most);
        surplus.extend(children.beyond(&function, bound));
    }
    surplus
}

/// What a child has outside of its own layer: volumes that nobody else can name, and its log.
fn places(inspect: &Value, named: &[String]) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let mounts = inspect.get("Mounts").and_then(Value::as_array);
    for mount in mounts.into_iter().flatten() {
        let text = |name: &str| mount.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("Name");
        let is_anonymous = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text("Type") == "volume" && is_anonymous && !named.iter().any(|known| known == name) {
            places.push(PathBuf::from(text("Source")));
        }
    }
    if let Some(log) = inspect.get("LogPath").and_then(Value::as_str)
        && !log.is_empty()
    {
        places.extend([PathBuf::from(log), PathBuf::from(format!("{log}.1"))]);
    }
    places
}

/// The bytes below some places, as far as they can be reached from here; what is beyond the limit is not looked for.
fn measured(places: &[PathBuf], limit: u64) -> u64 {
    let mut left: Vec<PathBuf> = places.to_vec();
    let mut sum = 0u64;
    while let Some(place) = left.pop() {
        let Ok(found) = std::fs::symlink_metadata(&place) else {
            continue;
        };
        sum = sum
            .saturating_add(found.blocks().saturating_mul(512))
            .saturating_add(ENTRY);
        if sum > limit.saturating_add(LOG) {
            break;
        }
        if found.is_dir() {
            left.extend(below(&place));
        }
    }
    sum
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_the_childs_own_is_measured() {
        let anonymous = "a".repeat(64);
        let inspect = json!({
            "LogPath": "/log",
            "Mounts": [
                { "Type": "volume", "Name": anonymous, "Source": "/own" },
                { "Type": "volume", "Name": "shared", "Source": "/shared" },
                { "Type": "volume", "Name": "b".repeat(64), "Source": "/granted" },
                { "Type": "bind", "Source": "/host" },
            ],
        });
        let places = places(&inspect, &["b".repeat(64)]);
        assert_eq!(places, ["/own", "/log", "/log.1"].map(PathBuf::from));
    }

    #[test]
    fn many_small_files_count_as_well_as_a_large_one() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let empty = measured(&[folder.path().to_owned()], 1 << 30);
        std::fs::write(inside.join("large"), vec![1; 1 << 20]).unwrap();
        for number in 0..100 {
            std::fs::write(inside.join(number.to_string()), "").unwrap();
        }
        let full = measured(&[folder.path().to_owned()], 1 << 30);
        assert!(full >= empty + (1 << 20) + 100 * ENTRY, "{empty} {full}");
        // A link leads nowhere.
        std::os::unix::fs::symlink("/", inside.join("link")).unwrap();
        assert!(measured(&[folder.path().to_owned()], 1 << 30) <= full + 8192);
    }
}
