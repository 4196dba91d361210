//! The parked Docker object that is a function's definition, as far as Skep reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::Copied;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Docker's id of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateId(pub Arc<str>);

impl TemplateId {
    /// The first 12 characters, as Docker prints it.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What Docker knows of a parked object with the label `skep.function`.
///
/// The named fields are what deciding needs; `inspect` is the whole, for the engine that makes instances from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Docker's id.
    pub id: TemplateId,
    /// The container's name, without the leading slash.
    pub name: String,
    /// When it was created: of two valid templates of one function the newer wins.
    pub created: Timestamp,
    /// Its labels, the image's included (Docker merges them).
    pub labels: BTreeMap<String, String>,
    /// The labels of its image, to tell what the image claims from what the deployer says.
    pub image_labels: BTreeMap<String, String>,
    /// The image's digest: what runs, whatever the tag points to later.
    pub image_id: String,
    /// The image as it was named at creation.
    pub image: String,
    /// False when the image is gone from the engine.
    pub image_present: bool,
    /// Whether it was ever started (and is so no template).
    pub ever_started: bool,
    /// Whether it publishes ports (`-p`, `-P`).
    pub publishes_ports: bool,
    /// Whether it has a TTY (`-t`).
    pub tty: bool,
    /// TCP ports that image and container expose.
    pub exposed_tcp: Vec<u16>,
    /// The value of `PORT` in its environment.
    pub port_variable: Option<String>,
    /// Whether a fixed IP address is asked for on one of its networks: only one container can have it at a time.
    pub fixed_address: bool,
    /// Docker's network mode: `bridge`, `none`, `host`, `container:…` or a network's name.
    pub network_mode: String,
    /// The networks that it is attached to, by name.
    pub networks: Vec<String>,
    /// The memory limit in bytes, where there is one.
    pub memory: Option<u64>,
    /// What was put into its file system with `docker cp`.
    pub copied: Option<Arc<Copied>>,
    /// `GET /containers/ID/json` as the engine answered it, as JSON text.
    pub inspect: Arc<str>,
}
