//! Lists of children, and removing those that ended.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use skep_grant::{Filters, Refusal};
use skep_model::label;

use super::afar::Sent;
use super::{Context, show};
use crate::answer::{Answer, json as answer_json};
use crate::daemon::{understood, whole};
use crate::elsewhere::Unreached;

/// The filters of Docker's list that say something about the function's own children.
const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// `GET /containers/json`.
pub(super) async fn list(mut context: Context) -> Result<Answer, Refusal> {
    let mut filters = Filters::parse(context.query.get("filters").unwrap_or_default(), FILTERS)?;
    // Older parameters that are filters now.
    for name in ["since", "before"] {
        if let Some(value) = context.query.take(name).filter(|value| !value.is_empty()) {
            filters.add(name, value);
        }
    }
    // Both kinds of children are older or newer than each other.
    let (mut newer, mut older) = (Vec::new(), Vec::new());
    for (name, times) in [("since", &mut newer), ("before", &mut older)] {
        for value in filters.take(name) {
            times.push(created(&context, &value).await?);
        }
    }
    let mut elsewhere = context.query.clone();
    elsewhere.set("filters", filters.written());
    let asked_elsewhere = format!("/containers/json{}", elsewhere.written());
    // Names to Docker are longer than what the function calls them: they are matched here.
    let names: Vec<String> = filters
        .take("name")
        .iter()
        .map(|name| name.trim_start_matches('/').to_owned())
        .collect();
    let limit = context
        .query
        .take("limit")
        .and_then(|limit| limit.parse::<usize>().ok());
    if limit.is_some_and(|limit| limit > 0) {
        context.query.set("all", "1".to_owned());
    }
    let asked = filters.clone();
    filters.add(
        "label",
        format!("{}={}", label::NAMESPACE, context.shared.namespace),
    );
    filters.add(
        "label",
        format!("{}={}", label::CHILD_OF, context.holder.function),
    );
    context.query.set("filters", filters.written());
    let path = format!("/containers/json{}", context.query.written());
    let (value, elsewhere) = tokio::join!(
        context.ask(Method::GET, path),
        context.ask_all(Method::GET, &asked_elsewhere)
    );
    let value = value?;
    let named = |own: &str| names.is_empty() || names.iter().any(|name| matches(name, own));
    let mut shown = Vec::new();
    for mut entry in value.as_array().cloned().unwrap_or_default() {
        let id = entry.get("Id").and_then(Value::as_str).unwrap_or_default();
        let Ok(child) = context.shared.find(&context.holder, id) else {
            continue;
        };
        if named(&child.name) {
            show::summary(&context.shared, &child, &mut entry);
            shown.push((child, entry));
        }
    }
    for (child, mut entry) in crate::lean::listed(&context, &asked, context.query.flag("all"), named).await {
        show::summary(&context.shared, &child, &mut entry);
        shown.push((child, entry));
    }
    shown.retain(|(child, _)| {
        newer.iter().all(|time| child.created > *time) && older.iter().all(|time| child.created < *time)
    });
    let mut shown: Vec<Value> = crate::lean::merge(shown)
        .into_iter()
        .map(|(_, entry)| entry)
        .collect();
    let there = elsewhere.iter().filter_map(|(_, list)| list.as_array());
    let there = there.flatten().filter(|entry| {
        let own = entry.get("Created").and_then(Value::as_i64).unwrap_or(0);
        newer.iter().all(|time| own >= time.as_second()) && older.iter().all(|time| own <= time.as_second())
    });
    shown.extend(there.cloned());
    if !elsewhere.is_empty() {
        // The newest first, as each node's own.
        shown.sort_by_key(|entry| std::cmp::Reverse(entry.get("Created").and_then(Value::as_i64)));
    }
    shown.truncate(limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX));
    Ok(answer_json(StatusCode::OK, &Value::Array(shown)))
}

/// When a child was made, wherever it is.
async fn created(context: &Context, text: &str) -> Result<Timestamp, Refusal> {
    let here = context.shared.find(&context.holder, text);
    if here.is_ok() || context.elsewhere().is_none() {
        return here.map(|child| child.created);
    }
    let (node, id) = context.met(text).await?;
    let sent = Sent::get(format!("/containers/{id}/json"));
    let found = context.ask_there(&node, sent).await.map_err(Unreached::refusal)?;
    let status = found.status();
    let found = understood(status, &whole(found.into_body()).await?)?;
    let created = found.get("Created").and_then(Value::as_str);
    Ok(created.and_then(|time| time.parse().ok()).unwrap_or_default())
}

/// Docker matches names by a regular expression; its anchors are what people use of that.
fn matches(pattern: &str, name: &str) -> bool {
    let (start, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest.trim_start_matches('/')),
        None => (false, pattern),
    };
    let (end, pattern) = match pattern.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    match (start, end) {
        (true, true) => name == pattern,
        (true, false) => name.starts_with(pattern),
        (false, true) => name.ends_with(pattern),
        (false, false) => name.contains(pattern),
    }
}

/// `POST /containers/prune`: the function's own children that ended, one by one.
pub(super) async fn prune(context: Context) -> Result<Answer, Refusal> {
    let text = context.query.get("filters").unwrap_or_default();
    let filters = Filters::parse(text, &["label", "until"])?;
    if !filters.values("label").is_empty() || !filters.values("until").is_empty() {
        return Err(Refusal::forbidden(
            "filters: this socket prunes all that ended, or nothing",
        ));
    }
    let ended: Vec<_> = context
        .shared
        .children()
        .all()
        .filter(|child| !child.is_live())
        .cloned()
        .collect();
    let (mut removed, mut space) = (Vec::new(), 0);
    for child in ended {
        if context.holder.sees(&context.shared, &child) {
            space += written(&context, &child.id).await;
            context.shared.end(&child.id).await;
            removed.push(child.id);
        }
    }
    for (_, value) in context.ask_all(Method::POST, "/containers/prune").await {
        let ids = value.get("ContainersDeleted").and_then(Value::as_array);
        let ids = ids.into_iter().flatten().filter_map(Value::as_str);
        removed.extend(ids.map(str::to_owned));
        space += value.get("SpaceReclaimed").and_then(Value::as_u64).unwrap_or(0);
    }
    let value = json!({ "ContainersDeleted": removed, "SpaceReclaimed": space });
    Ok(answer_json(StatusCode::OK, &value))
}

/// The bytes that a child has in files of its own.
async fn written(context: &Context, id: &str) -> u64 {
    if let Some(own) = context.shared.lean().and_then(|lean| lean.child(id)) {
        return own.measure().await;
    }
    let found = context
        .ask(Method::GET, format!("/containers/{id}/json?size=1"))
        .await;
    let size = found.ok().and_then(|found| found.get("SizeRw")?.as_u64());
    size.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_as_people_ask_for_them() {
        for (pattern, name, found) in [
            ("web", "my-web-1", true),
            ("^web", "my-web", false),
            ("^/web$", "web", true),
            ("web$", "my-web", true),
            ("db", "web", false),
        ] {
            assert_eq!(matches(pattern, name), found, "{pattern} {name}");
        }
    }
}
