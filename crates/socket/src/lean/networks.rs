//! The networks of a child that is connected to others, or disconnected from its own, after it was made.
//!
//! While it runs Docker does that to its sandbox, which nobody gets after it. Otherwise it is what the child starts
//! with the next time, in a sandbox made for it.

use std::collections::HashMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use skep_grant::{Connect, Refusal};
use skep_lean::RunningChild;

use super::child::{LeanChild, Status};
use super::create::failed;
use super::run::broke_off;
use super::{Lean, ahead, inspect, lock};
use crate::answer::{Answer, nothing};
use crate::calls::Context;
use crate::network;
use crate::shared::Shared;

/// Docker's words where a child is on no network or is to be.
const PRIVATE: &str = "container cannot be connected to multiple networks with one of the networks in private (none) \
    mode";
/// How much of its id others find a child by.
const SHORT: usize = 12;

/// What is to become of a child's networks.
pub(crate) struct Change {
    /// What Docker says of the network.
    pub(crate) network: Value,
    pub(crate) asked: Connect,
    pub(crate) disconnect: bool,
}

impl Change {
    fn text(&self, field: &str) -> &str {
        self.network
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.text("Name")
    }
}

/// Connects a child to a network, or disconnects it.
pub(crate) async fn change(
    context: Context,
    child: Arc<LeanChild>,
    change: Change,
) -> Result<Answer, Refusal> {
    let tasks = context.shared.tasks.clone();
    // In a task of its own: a client that goes away must not leave what nobody has written down.
    let changing = tasks.spawn(async move {
        let lean = context.shared.lean();
        let lean = lean.ok_or_else(|| failed("there is no lean engine"))?;
        if child.request.joined().is_some() {
            return Err(in_anothers(&child, &change));
        }
        let _alone = child.busy.lock().await;
        let doing = child.doing();
        match (doing.status, doing.running) {
            (Status::Removed, _) => {
                return Err(Refusal::not_found(format!("No such container: {}", child.id)));
            }
            (status, Some(running)) if status.runs() => {
                while_it_runs(&context.shared, &lean, &child, &running, &change).await?;
            }
            _ => {
                before_it_runs(&child, &change)?;
                // What was prepared of it is on the networks of before.
                ahead::give_up(&child).await;
            }
        }
        child.write_down().await?;
        Ok(nothing(StatusCode::OK))
    });
    changing.await.map_err(|_| broke_off())?
}

async fn while_it_runs(
    shared: &Arc<Shared>,
    lean: &Lean,
    child: &LeanChild,
    running: &RunningChild,
    change: &Change,
) -> Result<(), Refusal> {
    let name = change.name();
    let Some(container) = running.claim_network() else {
        return Err(no_sandbox(child, change));
    };
    let mut body = change.asked.body(container, change.disconnect);
    if !change.disconnect && network::has_names(name) {
        body["EndpointConfig"] = json!({ "Aliases": [&child.id[..SHORT]] });
    }
    let verb = if change.disconnect {
        "disconnect"
    } else {
        "connect"
    };
    let path = format!("/networks/{}/{verb}", change.text("Id"));
    let answered = shared.daemon.ask(Method::POST, &path, Some(&body)).await;
    if let Err(refusal) = answered {
        return Err(in_its_words(shared, child, container, refusal).await);
    }
    let mut names = names(child);
    names.retain(|own| own != name);
    if !change.disconnect {
        names.push(name.to_owned());
    }
    *lock(&child.networks) = Some(names);
    if let Err(error) = running.follow_network().await {
        tracing::warn!(
            container = child.id,
            error,
            "a child does not see what its network is called now"
        );
    }
    // What it has of a network is shown when it has ended, too.
    inspect::changed_network(shared, lean, container).await;
    Ok(())
}

/// What Docker says to a child in another container's network.
fn in_anothers(child: &LeanChild, change: &Change) -> Refusal {
    if change.disconnect {
        return failed(&format!(
            "container {} is not connected to the network {}",
            child.id,
            change.name()
        ));
    }
    Refusal::malformed(
        "container sharing network namespace with another container or host cannot be connected to any other network",
    )
}

/// What Docker says to a child that runs without a network.
fn no_sandbox(child: &LeanChild, change: &Change) -> Refusal {
    let (name, own) = (change.name(), lock(&child.name).clone());
    match (change.disconnect, name) {
        (true, "none") => Refusal {
            status: 501,
            message: "the lean engine takes no network from a container that runs without one; stop it first, create it \
                      with the network, or say skep.engine=docker on the function that starts it"
                .to_owned(),
        },
        (true, _) => failed(&format!("container {} is not connected to network {name}", child.id)),
        (false, "none") => Refusal::forbidden(format!(
            "endpoint with name {own} already exists in network none"
        )),
        (false, _) => Refusal::malformed(PRIVATE),
    }
}

/// A refusal of Docker's, which speaks of the sandbox.
async fn in_its_words(shared: &Shared, child: &LeanChild, container: &str, refusal: Refusal) -> Refusal {
    let path = format!("/containers/{container}/json");
    let found = shared.daemon.ask(Method::GET, &path, None).await;
    let found = found.unwrap_or_default();
    let name = found.get("Name").and_then(Value::as_str).unwrap_or_default();
    let mut message = refusal.message.replace(container, &child.id);
    if let Some(name) = name.strip_prefix('/').filter(|name| !name.is_empty()) {
        message = message.replace(name, &lock(&child.name));
    }
    Refusal { message, ..refusal }
}

fn before_it_runs(child: &LeanChild, change: &Change) -> Result<(), Refusal> {
    let (name, mut names) = (change.name(), names(child));
    let own = names.iter().any(|own| own == name);
    if change.disconnect {
        if !own {
            return Err(failed(&format!(
                "container {} is not connected to the network {name}",
                child.id
            )));
        }
        names.retain(|own| own != name);
    } else {
        if !own && !names.is_empty() && (name == "none" || names.iter().any(|own| own == "none")) {
            return Err(Refusal::malformed(PRIVATE));
        }
        if !own {
            names.push(name.to_owned());
        }
    }
    *lock(&child.networks) = Some(names);
    Ok(())
}

/// The names of a child's networks, the one that it starts with first.
fn names(child: &LeanChild) -> Vec<String> {
    if let Some(names) = &*lock(&child.networks) {
        return names.clone();
    }
    let own = child.inspect.pointer("/NetworkSettings/Networks");
    let own = own.and_then(Value::as_object).into_iter().flatten();
    let mut names: Vec<String> = own.map(|(name, _)| name.clone()).collect();
    let others = network::of_inspect(&child.inspect).others;
    names.sort_by_key(|name| others.contains(name));
    names
}

/// Shows the networks of a child that does not run, in what is known of them from before.
pub(super) fn show(child: &LeanChild, settings: &mut Value) {
    let Some(names) = lock(&child.networks).clone() else {
        return;
    };
    let known = settings.get("Networks").cloned().unwrap_or_default();
    let shown: Map<String, Value> = names
        .into_iter()
        .map(|name| {
            let entry = known.get(&name).cloned();
            let entry = entry.unwrap_or_else(|| to_come(child, &name));
            (name, entry)
        })
        .collect();
    settings["Networks"] = Value::Object(shown);
}

/// What Docker shows of a network that a container will be on.
fn to_come(child: &LeanChild, name: &str) -> Value {
    let aliases = network::has_names(name).then(|| [&child.id[..SHORT]]);
    json!({
        "IPAMConfig": null, "Links": null, "Aliases": aliases, "NetworkID": "", "EndpointID": "", "Gateway": "",
        "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        "MacAddress": "", "DriverOpts": null,
    })
}

/// The ids of the children that are in a sandbox, by its container: Docker's list of a network's members has that.
pub(crate) fn members(shared: &Shared) -> HashMap<String, String> {
    let all = shared.lean().map(|lean| lean.all()).unwrap_or_default();
    let member = |child: &Arc<LeanChild>| {
        let running = child.doing().running?;
        Some((running.network_container()?.to_owned(), child.id.clone()))
    };
    all.iter().filter_map(member).collect()
}
