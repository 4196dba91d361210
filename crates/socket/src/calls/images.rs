//! Images: those that the grant names, listed, inspected and pulled.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skep_grant::{Filters, Image, Query, Refusal};
use skep_model::Function;

use super::{Context, show};
use crate::answer::{Answer, empty, json as answer_json};
use crate::daemon::{understood, whole};

/// The function that a name means: granted, in force, and named in whichever way Docker takes an image's name. What is
/// a function's name is no image's, so that nobody gets around its template.
pub(super) fn function(context: &Context, asked: &str) -> Option<Arc<Function>> {
    let image = Image::parse(asked).ok()?;
    let entries = context.holder.spawn.may_start.iter();
    let mut meant = entries.filter(|entry| Image::parse(entry).is_ok_and(|entry| entry == image));
    meant.find_map(|entry| context.shared.function(entry))
}

/// The granted name that is meant, where it is a function's of which this node has nothing but the name.
pub(super) fn functions_name(context: &Context, asked: &str) -> Option<String> {
    context.elsewhere()?;
    let image = Image::parse(asked).ok()?;
    let mut entries = context.holder.spawn.may_start.iter();
    let meant = entries.find(|entry| {
        context.shared.is_functions_name(entry) && Image::parse(entry).is_ok_and(|entry| entry == image)
    });
    meant.cloned()
}

/// Has an image pulled that this node has not: its client asked another node, and can't.
pub(super) async fn fetch(context: &Context, name: &str) -> Result<(), Refusal> {
    let here = context.ask(Method::GET, format!("/images/{name}/json")).await;
    if here.is_ok() {
        return Ok(());
    }
    let image = Image::parse(name)?;
    let mut query = Query::default();
    query.set("fromImage", image.familiar().to_owned());
    query.set("tag", image.version().to_owned());
    let path = format!("/images/create{}", query.written());
    let call = context.outgoing(Method::POST, path, empty());
    let pulled = context.shared.daemon.send(call).await?;
    let status = pulled.status();
    // Its end is the pull's; what went wrong the create says.
    understood(status, &whole(pulled.into_body()).await?).map(drop)
}

/// The entries of the grant that are images.
fn entries(context: &Context) -> Vec<String> {
    let entries = context.holder.spawn.may_start.iter();
    let images = entries.filter(|entry| !context.shared.is_functions_name(entry));
    images.cloned().collect()
}

/// The name by which an image is granted; `None` where it is not. An id is looked up: what it names is what counts.
pub(super) async fn granted(context: &Context, asked: &str) -> Result<Option<String>, Refusal> {
    let entries = &entries(context);
    let image = Image::parse(asked)?;
    if image.is_granted(entries) {
        return Ok(Some(image.to_string()));
    }
    let digits = asked.strip_prefix("sha256:").unwrap_or(asked);
    if digits.len() < 12 || digits.len() > 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let Ok(found) = context.ask(Method::GET, format!("/images/{asked}/json")).await else {
        return Ok(None);
    };
    let id = found.get("Id").and_then(Value::as_str).unwrap_or_default();
    if id != asked
        && id
            .strip_prefix("sha256:")
            .is_none_or(|id| !id.starts_with(digits))
    {
        return Ok(None);
    }
    Ok(granted_tag(&found, entries))
}

fn granted_tag(image: &Value, entries: &[String]) -> Option<String> {
    let tags = image.get("RepoTags").and_then(Value::as_array)?;
    let mut tags = tags.iter().filter_map(Value::as_str);
    let granted = |tag: &&str| Image::parse(tag).is_ok_and(|image| image.is_granted(entries));
    tags.find(granted).map(str::to_owned)
}

/// The template's image where a granted function is named, else the granted image.
async fn behind(context: &Context, asked: &str) -> Result<Option<(String, Option<String>)>, Refusal> {
    let entries = &context.holder.spawn.may_start;
    if let Some(function) = function(context, asked) {
        let name = function.name.to_string();
        return Ok(Some((function.template.image_id.clone(), Some(name))));
    }
    if let Some(name) = granted(context, asked).await? {
        return Ok(Some((name, None)));
    }
    // A child knows its image by the id that its inspect shows.
    for entry in entries {
        if let Some(function) = context.shared.function(entry)
            && function.template.image_id == asked
        {
            return Ok(Some((asked.to_owned(), Some(entry.clone()))));
        }
    }
    Ok(None)
}

/// `GET /images/NAME/json`.
pub(super) async fn inspect(context: Context, asked: &str) -> Result<Answer, Refusal> {
    let none = || Refusal::not_found(format!("No such image: {asked}"));
    // What can be no image's name is none's, also for who doesn't know what it is the name of (`docker inspect`).
    let known = match behind(&context, asked).await {
        Err(Refusal { status: 400, .. }) => None,
        known => known?,
    };
    let (image, function) = known.ok_or_else(none)?;
    let found = context.ask(Method::GET, format!("/images/{image}/json")).await;
    let mut value = found.map_err(|refusal| if refusal.status == 404 { none() } else { refusal })?;
    shown(&context, &mut value, function.as_deref());
    Ok(answer_json(StatusCode::OK, &value))
}

/// An image without what it is also called, and without the host's paths.
fn shown(context: &Context, value: &mut Value, function: Option<&str>) {
    let entries = &context.holder.spawn.may_start;
    let granted = |tag: &Value| {
        let image = tag.as_str().map(Image::parse);
        image.is_some_and(|image| image.is_ok_and(|image| image.is_granted(entries)))
    };
    if let Some(Value::Array(tags)) = value.get_mut("RepoTags") {
        tags.retain(granted);
        if let Some(function) = function {
            tags.insert(0, format!("{function}:latest").into());
        }
    }
    if let Some(Value::Array(digests)) = value.get_mut("RepoDigests") {
        digests.retain(granted);
    }
    if let Some(driver) = value.get_mut("GraphDriver") {
        *driver = json!({ "Name": "", "Data": null });
    }
    if let Some(labels) = value.pointer_mut("/Config/Labels") {
        show::own_labels(labels);
    }
}

/// `GET /images/json`.
pub(super) async fn list(context: Context) -> Result<Answer, Refusal> {
    let text = context.query.get("filters").unwrap_or_default();
    let filters = Filters::parse(
        text,
        &["before", "dangling", "label", "reference", "since", "until"],
    )?;
    let references: Vec<&str> = filters.values("reference").iter().map(String::as_str).collect();
    let listed = context.ask(Method::GET, "/images/json".to_owned()).await?;
    let mut images = Vec::new();
    for mut image in listed.as_array().cloned().unwrap_or_default() {
        let id = image
            .get("Id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let entries = context.holder.spawn.may_start.iter();
        let mut functions = entries.filter_map(|entry| context.shared.function(entry));
        let function = functions.find(|function| function.template.image_id == id);
        let function = function.map(|function| function.name.to_string());
        if granted_tag(&image, &context.holder.spawn.may_start).is_none() && function.is_none() {
            continue;
        }
        shown(&context, &mut image, function.as_deref());
        let tags = image
            .get("RepoTags")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let asked = |tag: &Value| {
            let tag = tag.as_str().unwrap_or_default();
            let repository = tag.rsplit_once(':').map_or(tag, |(repository, _)| repository);
            references
                .iter()
                .any(|reference| *reference == tag || *reference == repository)
        };
        if references.is_empty() || tags.iter().any(asked) {
            if let Some(labels) = image.get_mut("Labels") {
                show::own_labels(labels);
            }
            images.push(image);
        }
    }
    Ok(answer_json(StatusCode::OK, &Value::Array(images)))
}

/// `POST /images/create`: a pull of what may be started.
pub(super) async fn pull(context: Context) -> Result<Answer, Refusal> {
    let parameter = |name: &str| context.query.get(name).unwrap_or_default();
    if ["fromSrc", "repo", "message", "changes"]
        .iter()
        .any(|name| !parameter(name).is_empty())
    {
        return Err(Refusal::forbidden("images are not imported through this socket"));
    }
    let (name, tag) = (parameter("fromImage"), parameter("tag"));
    let whole = match tag {
        "" => name.to_owned(),
        digest if digest.starts_with("sha256:") => format!("{name}@{digest}"),
        tag => format!("{name}:{tag}"),
    };
    let image = Image::parse(&whole)?;
    // Another platform's image would take the name from the node's own, for everybody who uses it.
    let own = format!("linux/{}", super::node::architecture());
    let platform = parameter("platform");
    if !platform.is_empty() && platform != own && !platform.starts_with(&format!("{own}/")) {
        return Err(Refusal::forbidden(format!(
            "a pull for {platform}: this node runs {own}, and images are pulled for that alone"
        )));
    }
    if !image.is_granted(&entries(&context)) {
        return Err(Refusal::forbidden(format!(
            "a pull of {whole}: skep.spawn of {} does not name it",
            context.holder.function
        )));
    }
    let mut query = context.query.clone();
    query.set("fromImage", image.familiar().to_owned());
    query.set("tag", image.version().to_owned());
    let path = format!("/images/create{}", query.written());
    context
        .forward(context.outgoing(Method::POST, path, empty()))
        .await
}
