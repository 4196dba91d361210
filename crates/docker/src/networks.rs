//! How a template is networked, and what of its attachments an instance gets.
//!
//! An instance gets the networks, their driver options and links, and never the template's aliases: an alias is a
//! name under which *others* find a container, and an instance that serves one invocation is nobody's server
//! (docs/decisions/021). A fixed address is kept where only one instance can exist at a time.

use serde_json::{Map, Value};

/// `HostConfig.NetworkMode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// The engine's default bridge.
    Default,
    /// Loopback only.
    None,
    /// The host's own namespace.
    Host,
    /// Another container's namespace, by its id or name.
    Container(String),
    /// A network of the user's, by name or id.
    Named(String),
}

impl NetworkMode {
    pub(crate) fn read(text: &str) -> Self {
        match text {
            "" | "default" | "bridge" => Self::Default,
            "none" => Self::None,
            "host" => Self::Host,
            other => match other.strip_prefix("container:") {
                Some(container) => Self::Container(container.to_owned()),
                None => Self::Named(other.to_owned()),
            },
        }
    }

    /// Whether the instance's network namespace is somebody else's too.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Host | Self::Container(_))
    }

    /// Leaves the host name to Docker where the template's is only its id, or where it may not be given.
    pub(crate) fn shape_hostname(&self, config: &mut Map<String, Value>, uts: Option<&str>, default: &str) {
        let own = config.get("Hostname").and_then(Value::as_str).unwrap_or("");
        let refused = uts == Some("host") || matches!(self, Self::Container(_));
        if own == default || refused {
            config.remove("Hostname");
        }
        if refused {
            config.remove("Domainname");
        }
    }
}

/// One network that an instance is attached to.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    /// Its name.
    pub(crate) network: String,
    /// The endpoint's settings, as the create body takes them.
    pub(crate) endpoint: Value,
    alone: bool,
}

impl Attachment {
    /// Whether addresses that were asked for by hand may be kept.
    pub(crate) fn alone(&self) -> bool {
        self.alone
    }
}

/// The template's attachments, that of its network mode first. `alone`: whether only one instance can be at a time.
pub(crate) fn attachments(mode: &NetworkMode, networks: Option<&Value>, alone: bool) -> Vec<Attachment> {
    let first = match mode {
        NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => return Vec::new(),
        NetworkMode::Default => "bridge",
        NetworkMode::Named(name) => name,
    };
    let mut found: Vec<Attachment> = Vec::new();
    for (name, settings) in networks.and_then(Value::as_object).into_iter().flatten() {
        let attachment = Attachment {
            network: name.clone(),
            endpoint: endpoint(settings, alone),
            alone,
        };
        // The network mode may be the network's id where the attachment is listed by its name.
        let is_first = name == first || settings.get("NetworkID").and_then(Value::as_str) == Some(first);
        found.insert(if is_first { 0 } else { found.len() }, attachment);
    }
    if found.is_empty() {
        found.push(Attachment {
            network: first.to_owned(),
            endpoint: Value::Object(Map::new()),
            alone,
        });
    }
    found
}

fn endpoint(settings: &Value, alone: bool) -> Value {
    let kept: &[&str] = if alone {
        &["IPAMConfig", "Links", "DriverOpts", "GwPriority"]
    } else {
        &["Links", "DriverOpts", "GwPriority"]
    };
    let copied = kept.iter().filter_map(|key| {
        let value = settings.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), value.clone()))
    });
    Value::Object(copied.collect())
}
