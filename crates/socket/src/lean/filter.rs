//! Lists with both kinds of children in them.

use serde_json::Value;
use skep_grant::Filters;

use super::child::LeanChild;
use super::{inspect, lock};
use crate::calls::Context;
use crate::child::Child;

/// The children of this kind that a list shows, as Docker's list would, with what else is known of each. Names are
/// matched by `named`.
pub(crate) async fn listed(
    context: &Context,
    filters: &Filters,
    all: bool,
    named: impl Fn(&str) -> bool,
) -> Vec<(Child, Value)> {
    let Some(lean) = context.shared.lean() else {
        return Vec::new();
    };
    let mut listed = Vec::new();
    for child in lean.all() {
        let Ok(known) = context.shared.find(&context.holder, &child.id) else {
            continue;
        };
        let all = all || !filters.values("status").is_empty();
        if !(all || child.doing().status.runs()) || !named(&lock(&child.name)) {
            continue;
        }
        let entry = inspect::summary(&context.shared, &lean, &child, context.query.flag("size")).await;
        if matches(&child, &entry, &known, filters) {
            listed.push((known, entry));
        }
    }
    listed
}

fn matches(child: &LeanChild, entry: &Value, known: &Child, filters: &Filters) -> bool {
    let any = |name: &str, matches: &dyn Fn(&str) -> bool| {
        let values = filters.values(name);
        values.is_empty() || values.iter().any(|value| matches(value))
    };
    let text = |at: &str| entry.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let labels = entry.get("Labels").and_then(Value::as_object);
    let labelled = filters.values("label").iter().all(|wanted| {
        let (key, value) = wanted
            .split_once('=')
            .map_or((wanted.as_str(), None), |(key, value)| (key, Some(value)));
        let own = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        own.is_some_and(|own| value.is_none_or(|value| own == value))
    });
    let doing = child.doing();
    let image = |value: &str| {
        let asked = known.marks.asked.as_str();
        let plain = asked.strip_suffix(":latest").unwrap_or(asked);
        let id = child.text("/Image");
        value == asked
            || value == plain
            || value.strip_suffix(":latest") == Some(plain)
            || id == value
            || (value.len() >= 4 && id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(value)))
    };
    let networks = entry
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object);
    let mounts = entry.get("Mounts").and_then(Value::as_array);
    labelled
        && any("id", &|value| child.id.starts_with(value))
        && any("status", &|value| value == doing.status.word())
        && any("exited", &|value| !doing.status.runs() && doing.ends > 0 && value == doing.code.to_string())
        && any("ancestor", &image)
        && any("health", &|value| value == "none")
        && any("isolation", &|value| matches!(value, "" | "default"))
        && any("network", &|value| {
            networks.is_some_and(|networks| {
                networks.iter().any(|(name, endpoint)| {
                    let id = endpoint.get("NetworkID").and_then(Value::as_str);
                    name == value || id.is_some_and(|id| !value.is_empty() && id.starts_with(value))
                })
            })
        })
        && any("volume", &|value| {
            let is = |mount: &Value, field: &str| mount.get(field).and_then(Value::as_str) == Some(value);
            mounts.is_some_and(|mounts| mounts.iter().any(|mount| is(mount, "Name") || is(mount, "Destination")))
        })
        // None of them publishes a port.
        && any("publish", &|_| false)
        && any("expose", &|value| {
            let ports = child.inspect.pointer("/Config/ExposedPorts").and_then(Value::as_object);
            ports.is_some_and(|ports| ports.keys().any(|port| port == value || port.split('/').next() == Some(value)))
        })
        && !text("/Id").is_empty()
}

/// Both kinds in one list, the newest first.
pub(crate) fn merge(mut both: Vec<(Child, Value)>) -> Vec<(Child, Value)> {
    both.sort_by_key(|(child, _)| std::cmp::Reverse(child.created));
    both
}
