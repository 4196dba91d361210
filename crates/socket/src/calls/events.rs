//! `GET /events`: those of the function's own children, as they happen.

use std::sync::Arc;

use http::Method;
use serde_json::Value;
use skep_grant::{Filters, Refusal};
use skep_model::label;

use super::{Context, gathered, lines, show};
use crate::answer::{Answer, empty};
use crate::names;

const FILTERS: &[&str] = &["container", "event", "image", "label", "type"];

/// Streams events.
pub(super) async fn stream(mut context: Context) -> Result<Answer, Refusal> {
    let asked = context.query.clone();
    let mut filters = Filters::parse(context.query.get("filters").unwrap_or_default(), FILTERS)?;
    let types = filters.take("type");
    let images = filters.take("image");
    // Looked at in each event: a child may be made later, and Docker knows it by another name.
    let children = filters.take("container");
    let time = |name: &str| context.query.get(name).and_then(crate::lean::nanoseconds);
    let wanted = crate::lean::EventsWanted {
        function: context.holder.function.to_string(),
        filters: filters.clone(),
        since: time("since"),
        until: time("until"),
    };
    filters.add("type", "container".to_owned());
    filters.add(
        "label",
        format!("{}={}", label::NAMESPACE, context.shared.namespace),
    );
    filters.add(
        "label",
        format!("{}={}", label::CHILD_OF, context.holder.function),
    );
    context.query.set("filters", filters.written());
    let others = !types.is_empty() && !types.iter().any(|kind| kind == "container");
    let path = format!("/events{}", context.query.written());
    let response = context
        .shared
        .daemon
        .send(context.outgoing(Method::GET, path, empty()))
        .await?;
    if !response.status().is_success() {
        return context.passed(response).await;
    }
    let context = Arc::new(context);
    let only = Arc::new(Only {
        others,
        images,
        children,
    });
    let filter = {
        let (context, only) = (context.clone(), only.clone());
        move |line: &[u8]| shown(&context, line, &only)
    };
    let theirs = lines::passed(response.into_body(), filter);
    let shared = context.shared.clone();
    let own = context.clone();
    let both = crate::lean::merged(&shared, theirs, wanted, move |line| shown(&context, line, &only));
    Ok(gathered::events(own, asked, both))
}

/// What is asked for in the function's own words, and so never of Docker.
struct Only {
    /// Whether it is no container's events.
    others: bool,
    images: Vec<String>,
    /// The beginnings of names and ids.
    children: Vec<String>,
}

/// One event as the function sees it; `None` for what is not its own.
fn shown(context: &Context, line: &[u8], only: &Only) -> Option<String> {
    let mut event: Value = serde_json::from_slice(line).ok()?;
    let id = event.pointer("/Actor/ID")?.as_str()?.to_owned();
    let attributes = event.pointer_mut("/Actor/Attributes")?;
    let parent = attributes.get(label::PARENT)?.as_str()?.to_owned();
    let asked = attributes.get(crate::labels::ASKED)?.clone();
    let is_mine = !context.holder.is_child() || {
        let above = context.shared.children().get(&parent).cloned();
        let named = attributes.get(crate::labels::ABOVE).and_then(Value::as_str);
        let own = context.holder.id();
        parent == own
            || named.is_some_and(|named| named.split(',').any(|above| above == own))
            || above.is_some_and(|child| context.holder.sees(&context.shared, &child))
    };
    let of_images = only.images.is_empty() || only.images.iter().any(|image| asked == image.as_str());
    if only.others || !is_mine || !of_images {
        return None;
    }
    let prefix = names::prefix(&context.shared.namespace, &context.holder.function);
    for name in ["name", "oldName"] {
        if let Some(value) = attributes.get_mut(name) {
            let plain = value.as_str().unwrap_or_default().replace(&prefix, "");
            *value = plain.into();
        }
    }
    let name = attributes.get("name").and_then(Value::as_str).unwrap_or_default();
    if !only.children.is_empty() {
        let of_child = |begin: &String| id.starts_with(begin.as_str()) || name.starts_with(begin.as_str());
        if !only.children.iter().any(of_child) {
            return None;
        }
    }
    if let Some(image) = attributes.get_mut("image") {
        *image = asked.clone();
    }
    show::own_labels(attributes);
    if let Some(from) = event.get_mut("from") {
        *from = asked;
    }
    Some(event.to_string())
}
