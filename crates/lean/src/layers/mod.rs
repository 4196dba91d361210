//! Skep's own store of images' layers, for an engine that exposes none: each image as one folder, made once by an
//! export of a container of it, kept while anybody needs it.

mod flatten;
mod pieces;
mod store;
mod unpack;

use std::sync::Arc;

use serde_json::Value;
use skep_model::Template;

pub(crate) use self::flatten::Exporter;
pub(crate) use self::store::{Store, Waiting};

/// Where the layers of this node's images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In overlay2's folders.
    Overlay2,
    /// Behind a driver of this name, which shows them to nobody: they are flattened.
    Hidden(String),
}

/// An image's layers, the top one first, and the folder that they stand in.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    pub(crate) base: String,
    pub(crate) lower: Vec<String>,
    /// What keeps them in the store, where they are Skep's own.
    pub(crate) _pin: Option<Arc<Pin>>,
}

/// While there is one, the flattened layers stay.
#[derive(Debug)]
pub(crate) struct Pin;

/// An image for one platform: a name may stand for several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Image {
    /// Of what it holds, as hexadecimal digits.
    digest: String,
    /// By which Docker finds it.
    id: String,
    /// `os/architecture/variant`, where the engine says it.
    platform: Option<String>,
}

impl Image {
    /// The one that a template was made from; `None` where the engine gives it no digest.
    pub(crate) fn of(template: &Template) -> Option<Self> {
        let inspect: Value = serde_json::from_str(&template.inspect).unwrap_or_default();
        let manifest = inspect.get("ImageManifestDescriptor");
        let named = manifest.and_then(|manifest| manifest.get("digest")?.as_str());
        let digest = named.unwrap_or(&template.image_id).strip_prefix("sha256:")?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let platform = manifest.and_then(|manifest| manifest.get("platform"));
        let part = |name: &str| platform?.get(name)?.as_str().filter(|part| !part.is_empty());
        let parts: Vec<&str> = ["os", "architecture", "variant"]
            .into_iter()
            .filter_map(part)
            .collect();
        is_digest.then(|| Self {
            digest: digest.to_owned(),
            id: template.image_id.clone(),
            platform: (!parts.is_empty()).then(|| parts.join("/")),
        })
    }
}
