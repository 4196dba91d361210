//! Which network a child asks for, and whether that was granted.

use serde_json::{Value, json};
use skep_model::Spawn;

use crate::fields::Fields;
use crate::json::Json;
use crate::refusal::Refusal;
use crate::tables;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NetworkAsked {
    /// Nothing: the child gets its parent's.
    #[default]
    Parents,
    /// Loopback only.
    None,
    /// The default bridge.
    Bridge,
    /// A granted network, by its name.
    Named(String),
    /// The network namespace of another of the function's children, by name or id.
    Sibling(String),
}

impl NetworkAsked {
    /// Reads a network mode. Whether [`NetworkAsked::Bridge`] may be had depends on the parent's network too.
    fn mode(text: &str, spawn: &Spawn) -> Result<Self, Refusal> {
        match text {
            "" | "default" => Ok(Self::Parents),
            "none" => Ok(Self::None),
            "bridge" => Ok(Self::Bridge),
            "host" => Err(Refusal::forbidden(
                "HostConfig.NetworkMode=host: no grant of skep.spawn lets a child into the host's network",
            )),
            other => match other.strip_prefix("container:") {
                Some(sibling) => Ok(Self::Sibling(sibling.to_owned())),
                None => named(other, spawn).map(Self::Named),
            },
        }
    }

    /// As a request says it.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Parents => "default".to_owned(),
            Self::None => "none".to_owned(),
            Self::Bridge => "bridge".to_owned(),
            Self::Named(name) => name.clone(),
            Self::Sibling(sibling) => format!("container:{sibling}"),
        }
    }

    /// Reads `HostConfig.NetworkMode` and `NetworkingConfig`, which must agree.
    pub(crate) fn read(
        mode: &str,
        networking: &mut Fields,
        disabled: bool,
        spawn: &Spawn,
    ) -> Result<Self, Refusal> {
        let mode = Self::mode(mode, spawn)?;
        let endpoints = networking.entries("EndpointsConfig")?;
        if endpoints.len() > 1 {
            return Err(Refusal::forbidden(
                "a child is created on one network; connect it to others",
            ));
        }
        let mut asked = mode.clone();
        for (network, endpoint) in endpoints {
            let entry = Self::mode(&network, spawn)?;
            check_endpoint(endpoint)?;
            if mode == Self::Parents {
                asked = entry;
            } else if mode != entry {
                return Err(Refusal::malformed(format!(
                    "NetworkingConfig names the network {network:?} and HostConfig.NetworkMode another"
                )));
            }
        }
        if disabled && !matches!(asked, Self::Parents | Self::None) {
            return Err(Refusal::malformed(
                "NetworkDisabled contradicts the network that is named",
            ));
        }
        Ok(if disabled { Self::None } else { asked })
    }
}

fn check_endpoint(endpoint: Json) -> Result<(), Refusal> {
    let mut endpoint = Fields::of("NetworkingConfig.EndpointsConfig", endpoint)?;
    let mut addresses = endpoint.object("IPAMConfig")?;
    for field in ["IPv4Address", "IPv6Address"] {
        if !addresses.text(field)?.is_empty() {
            return Err(Refusal::forbidden(format!(
                "IPAMConfig.{field}: no grant of skep.spawn lets a child choose its addresses"
            )));
        }
    }
    addresses.list("LinkLocalIPs")?;
    addresses.finish()?;
    endpoint.neutral(tables::ENDPOINT)?;
    endpoint.finish()
}

/// A network by name, where it was granted.
pub(crate) fn named(name: &str, spawn: &Spawn) -> Result<String, Refusal> {
    if spawn.networks.iter().any(|network| network == name) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::forbidden(format!(
            "the network {name:?} is not granted; skep.spawn.networks names those that are"
        )))
    }
}

/// `POST /networks/NAME/connect` and `…/disconnect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The child, by name or id.
    pub container: String,
    force: bool,
}

impl Connect {
    /// Reads a body.
    ///
    /// # Errors
    /// What it says that is not granted.
    pub fn parse(body: Json) -> Result<Self, Refusal> {
        let mut body = Fields::of("", body)?;
        let container = body.text("Container")?;
        let force = body.flag("Force")?;
        check_endpoint(body.take("EndpointConfig"))?;
        body.finish()?;
        Ok(Self { container, force })
    }

    /// The body for the daemon.
    pub fn body(&self, container: &str, disconnect: bool) -> Value {
        if disconnect {
            json!({ "Container": container, "Force": self.force })
        } else {
            json!({ "Container": container })
        }
    }
}
