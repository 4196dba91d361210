//! Which network an instance has, and with whom.

use serde_json::Value;
use skep_model::{Function, PortChoice, SandboxChoice};

use crate::capabilities;
use crate::inspect::Fields;

/// Which network namespace instances run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// An empty one each.
    Own,
    /// The sandbox's.
    Sandbox,
    /// That of a container which is neither theirs nor made here.
    Joined,
}

/// How instances share a sandbox on a network (DESIGN 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Any number at a time.
    Together,
    /// One at a time, one after another.
    InTurn,
    /// One, which may change the network: the next one gets a fresh sandbox.
    Once,
}

/// With one of these a process can change its network namespace: by netlink, or by mounting `/proc/sys` anew.
const CHANGING: [&str; 2] = ["NET_ADMIN", "SYS_ADMIN"];

/// Whether the sandbox is there already, and somebody else's to make and remove: a template that is to run in its own
/// container's network is the running sandbox of its instances.
pub(super) fn is_given(function: &Function) -> bool {
    let template = &function.template;
    template.network_mode.strip_prefix("container:") == Some(&template.id.0)
}

/// Reads the network mode; `joined` is the container whose network may be had.
pub(super) fn read(
    function: &Function,
    joined: Option<&str>,
    host: &mut Fields,
    inspect: &Value,
    reasons: &mut Vec<String>,
) -> Network {
    let mode = host.text("NetworkMode");
    match mode.as_str() {
        "none" => return Network::Own,
        "host" => {
            reasons.push("the lean engine does not run in the host's network (--network host)".to_owned())
        }
        container if joined.is_some() && container.strip_prefix("container:") == joined => {
            return Network::Joined;
        }
        // What holds the sandbox is the template itself.
        container if container.starts_with("container:") && !is_given(function) => {
            reasons.push("the lean engine does not run in another container's network".to_owned());
        }
        _ => {}
    }
    if function.template.fixed_address {
        reasons.push("the lean engine does not give a fixed address (--ip)".to_owned());
    }
    let links = inspect
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|networks| networks.values())
        .any(|endpoint| endpoint.get("Links").is_some_and(|links| !links.is_null()));
    if links {
        reasons.push("the lean engine does not link to other containers (--link)".to_owned());
    }
    Network::Sandbox
}

/// How instances with these capabilities share a sandbox. `asked` are the names of those that the template adds;
/// `open` says that the kernel's network settings can be written.
pub(super) fn sharing(function: &Function, granted: u64, asked: &[String], open: bool) -> Sharing {
    let bit = |name: &str| capabilities::bit(name).unwrap_or_default();
    if open || CHANGING.iter().any(|name| granted & bit(name) != 0) {
        return Sharing::Once;
    }
    let listens = asked
        .iter()
        .any(|name| bit(name) == bit("NET_RAW") || name.eq_ignore_ascii_case("ALL"));
    if listens
        || function.settings.sandbox == SandboxChoice::Private
        || matches!(function.settings.port, PortChoice::Fixed(_))
    {
        return Sharing::InTurn;
    }
    Sharing::Together
}
