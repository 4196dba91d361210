//! Networks and volumes: those that were granted, seen and joined, never made.

use std::collections::HashMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use skep_grant::{Connect, Json, Refusal};

use super::{Context, show};
use crate::answer::{Answer, full, json as answer_json};
use crate::child::Child;
use crate::lean::Change;

/// A granted network, or the function's own, by its name or its id. Docker takes what is no name as the beginning of
/// an id: what it found is looked at, so that a name that was granted never means another network.
pub(super) async fn found(context: &Context, asked: &str) -> Result<Value, Refusal> {
    let none = || Refusal::not_found(format!("network {asked} not found"));
    let value = context
        .ask(Method::GET, format!("/networks/{asked}"))
        .await
        .map_err(|_| none())?;
    let name = value.get("Name").and_then(Value::as_str).unwrap_or_default();
    if is_visible(context, name) {
        Ok(value)
    } else {
        Err(none())
    }
}

fn is_visible(context: &Context, name: &str) -> bool {
    let own = &context.holder.network;
    let mode = if matches!(own.mode.as_str(), "" | "default") {
        "bridge"
    } else {
        &own.mode
    };
    name == "none"
        || name == mode
        || own.others.iter().any(|other| other == name)
        || context
            .holder
            .spawn
            .networks
            .iter()
            .any(|granted| granted == name)
}

/// A network without those who are on it, but for the function's own children. `sandboxes` are those that such are in.
fn shown(context: &Context, sandboxes: &HashMap<String, String>, network: &mut Value) {
    if let Some(Value::Object(members)) = network.get_mut("Containers") {
        for (container, mut member) in std::mem::take(members) {
            let id = sandboxes.get(&container).unwrap_or(&container);
            if let Ok(child) = context.shared.find(&context.holder, id) {
                member["Name"] = child.name.into();
                members.insert(child.id, member);
            }
        }
    }
    if let Some(labels) = network.get_mut("Labels") {
        show::own_labels(labels);
    }
}

/// `GET /networks`.
pub(super) async fn networks(context: Context) -> Result<Answer, Refusal> {
    let listed = context.ask(Method::GET, "/networks".to_owned()).await?;
    let mut networks = listed.as_array().cloned().unwrap_or_default();
    networks.retain(|network| {
        let name = network.get("Name").and_then(Value::as_str);
        name.is_some_and(|name| is_visible(&context, name))
    });
    let sandboxes = crate::lean::members(&context.shared);
    for network in &mut networks {
        shown(&context, &sandboxes, network);
    }
    Ok(answer_json(StatusCode::OK, &Value::Array(networks)))
}

/// `GET /networks/NAME`.
pub(super) async fn network(context: Context, asked: &str) -> Result<Answer, Refusal> {
    let mut network = found(&context, asked).await?;
    shown(&context, &crate::lean::members(&context.shared), &mut network);
    Ok(answer_json(StatusCode::OK, &network))
}

/// Newer engines let others on a network find a child by its host name, whenever it joins.
async fn without_a_name(context: &Context, child: &Child, network: &str) -> Result<(), Refusal> {
    let value = match context.shared.lean().and_then(|lean| lean.child(&child.id)) {
        Some(own) => own.settled().clone(),
        None => {
            let path = format!("/containers/{}/json", child.id);
            context.ask(Method::GET, path).await?
        }
    };
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if child.id.starts_with(text("/Config/Hostname")) && text("/Config/Domainname").is_empty() {
        return Ok(());
    }
    Err(Refusal::forbidden(format!(
        "Hostname: others on the network {network:?} would find the child under that name, \
         and no grant of skep.spawn gives a child names there"
    )))
}

/// `POST /networks/NAME/connect` and `…/disconnect`.
pub(super) async fn connect(
    context: Context,
    asked: &str,
    body: Json,
    disconnect: bool,
) -> Result<Answer, Refusal> {
    let connect = Connect::parse(body)?;
    let child = context.shared.find(&context.holder, &connect.container)?;
    if child.marks.of_template {
        return Err(Refusal::forbidden(format!(
            "{} is a function, and its template has settled its networks",
            child.marks.asked
        )));
    }
    let network = found(&context, asked).await?;
    let name = network.get("Name").and_then(Value::as_str).unwrap_or_default();
    if !disconnect {
        without_a_name(&context, &child, name).await?;
    }
    let granted = context
        .holder
        .spawn
        .networks
        .iter()
        .any(|granted| granted == name);
    let own = context.holder.network.others.iter().any(|other| other == name)
        || context.holder.network.mode == name;
    if !granted && !own && !disconnect {
        return Err(Refusal::forbidden(format!(
            "the network {name:?} is not granted; skep.spawn.networks names those that are"
        )));
    }
    if let Some(own) = context.shared.lean().and_then(|lean| lean.child(&child.id)) {
        let change = Change {
            network,
            asked: connect,
            disconnect,
        };
        return crate::lean::change(context, own, change).await;
    }
    let id = network.get("Id").and_then(Value::as_str).unwrap_or_default();
    let verb = if disconnect { "disconnect" } else { "connect" };
    let body = full(connect.body(&child.id, disconnect).to_string());
    let call = context.outgoing(Method::POST, format!("/networks/{id}/{verb}"), body);
    context.forward(call).await
}

/// A volume without the host's path of it.
fn plain(mut volume: Value) -> Value {
    if let Some(place) = volume.get_mut("Mountpoint") {
        *place = json!("");
    }
    if let Some(options) = volume.get_mut("Options") {
        *options = Value::Null;
    }
    volume
}

/// `GET /volumes`.
pub(super) async fn volumes(context: Context) -> Result<Answer, Refusal> {
    let mut volumes = Vec::new();
    for name in &context.holder.spawn.volumes {
        if let Ok(volume) = context.ask(Method::GET, format!("/volumes/{name}")).await {
            volumes.push(plain(volume));
        }
    }
    Ok(answer_json(
        StatusCode::OK,
        &json!({ "Volumes": volumes, "Warnings": null }),
    ))
}

/// `GET /volumes/NAME`.
pub(super) async fn volume(context: Context, asked: &str) -> Result<Answer, Refusal> {
    if !context
        .holder
        .spawn
        .volumes
        .iter()
        .any(|granted| granted == asked)
    {
        return Err(Refusal::not_found(format!("get {asked}: no such volume")));
    }
    let volume = context.ask(Method::GET, format!("/volumes/{asked}")).await?;
    Ok(answer_json(StatusCode::OK, &plain(volume)))
}
