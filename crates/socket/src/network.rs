//! The network of a child: its parent's, or one that was granted.

use serde_json::Value;
use skep_grant::{Create, NetworkAsked, Refusal};
use skep_model::Function;

use crate::holder::{Holder, Inherited};
use crate::shared::Shared;

/// What a template says of its networks, which is what children inherit.
pub(crate) fn of_template(function: &Function) -> Inherited {
    let inspect: Value = serde_json::from_str(&function.template.inspect).unwrap_or_default();
    of_inspect(&inspect)
}

/// What a container's `inspect` says of its networks.
pub(crate) fn of_inspect(inspect: &Value) -> Inherited {
    let mode = inspect
        .pointer("/HostConfig/NetworkMode")
        .and_then(Value::as_str)
        .unwrap_or("default");
    let own = inspect
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object);
    let is_first = |name: &str, settings: &Value| {
        name == mode
            || (name == "bridge" && matches!(mode, "default" | ""))
            || settings.get("NetworkID").and_then(Value::as_str) == Some(mode)
    };
    // Whoever is in another container's network is in all of that one's, and connects to none.
    let own = own.filter(|_| !mode.starts_with("container:"));
    let others = own
        .into_iter()
        .flatten()
        .filter(|(name, settings)| !is_first(name, settings))
        .map(|(name, _)| name.clone());
    Inherited {
        mode: mode.to_owned(),
        others: others.collect(),
    }
}

/// Whether a network resolves the names of who is on it.
pub(crate) fn has_names(mode: &str) -> bool {
    !matches!(mode, "" | "default" | "bridge" | "none" | "host") && !mode.starts_with("container:")
}

/// The network mode of a child and the networks to connect it to afterwards.
pub(crate) fn settle(shared: &Shared, holder: &Holder, create: &Create) -> Result<Inherited, Refusal> {
    let plain = |mode: &str| Inherited {
        mode: mode.to_owned(),
        others: Vec::new(),
    };
    let settled = match &create.network {
        NetworkAsked::Parents => holder.network.clone(),
        NetworkAsked::None => plain("none"),
        NetworkAsked::Bridge => {
            let parents = matches!(holder.network.mode.as_str(), "" | "default" | "bridge");
            if !parents && !holder.spawn.networks.iter().any(|network| network == "bridge") {
                return Err(Refusal::forbidden(
                    "the network \"bridge\" is not granted; skep.spawn.networks names those that are",
                ));
            }
            plain("bridge")
        }
        NetworkAsked::Named(name) => plain(name),
        NetworkAsked::Sibling(text) => {
            let sibling = shared.find(holder, text)?;
            if sibling.marks.of_template {
                return Err(Refusal::forbidden(format!(
                    "HostConfig.NetworkMode={mode}: {function} is a function, and its networks are its own",
                    mode = format_args!("container:{text}"),
                    function = sibling.marks.asked
                )));
            }
            let container = match shared.lean().and_then(|lean| lean.child(&sibling.id)) {
                Some(own) => own.network_to_join()?,
                None => sibling.id,
            };
            plain(&format!("container:{container}"))
        }
    };
    let named = has_names(&settled.mode) || settled.others.iter().any(|network| has_names(network));
    if named && !create.hostname.is_empty() {
        return Err(Refusal::forbidden(format!(
            "Hostname: others on the network {:?} would find the child under that name, \
             and no grant of skep.spawn gives a child names there",
            settled.mode
        )));
    }
    Ok(settled)
}
