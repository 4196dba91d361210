//! What names of images mean, remembered for as long as Docker's events say that none has changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use http_body_util::BodyStream;
use serde_json::Value;
use skep_grant::Refusal;

use super::lock;
use crate::answer::empty;
use crate::daemon::Outgoing;
use crate::shared::Shared;

/// How long is waited before events are listened to again.
const PAUSE: Duration = Duration::from_secs(1);
/// How many names are remembered.
const REMEMBERED: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Images {
    ids: Mutex<HashMap<String, String>>,
    /// How many changes were heard of; 0 while nobody listens.
    heard: AtomicU64,
}

impl Images {
    fn changed(&self, heard: u64) {
        let mut ids = lock(&self.ids);
        self.heard.store(heard, Ordering::Release);
        ids.clear();
    }
}

/// The id of an image.
pub(super) async fn id(shared: &Shared, name: &str) -> Result<String, Refusal> {
    let lean = shared.lean();
    let images = lean.as_ref().map(|lean| &lean.images);
    let known = images.and_then(|images| lock(&images.ids).get(name).cloned());
    if let Some(id) = known {
        return Ok(id);
    }
    let heard = images.map_or(0, |images| images.heard.load(Ordering::Acquire));
    let found = shared
        .daemon
        .ask(Method::GET, &format!("/images/{name}/json"), None)
        .await?;
    let id = found
        .get("Id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(images) = images.filter(|_| heard > 0 && !id.is_empty()) {
        let mut ids = lock(&images.ids);
        if ids.len() >= REMEMBERED {
            ids.clear();
        }
        // What changed since it was asked is not to be remembered.
        if images.heard.load(Ordering::Acquire) == heard {
            ids.insert(name.to_owned(), id.clone());
        }
    }
    Ok(id)
}

/// Listens for changes of images, for ever.
pub(crate) async fn watch(shared: &Arc<Shared>) {
    let Some(lean) = shared.lean() else {
        return std::future::pending().await;
    };
    let mut changes = 0;
    loop {
        let call = Outgoing {
            method: Method::GET,
            path: "/events?filters=%7B%22type%22%3A%5B%22image%22%5D%7D".to_owned(),
            version: shared.daemon.version,
            body: empty(),
            archive: false,
            upgrade: false,
        };
        if let Ok(response) = shared.daemon.send(call).await
            && response.status().is_success()
        {
            changes += 1;
            lean.images.changed(changes);
            let mut frames = BodyStream::new(response.into_body());
            while let Some(Ok(frame)) = frames.next().await {
                changes += 1;
                lean.images.changed(changes);
                let said = frame.data_ref().map_or(&[][..], |data| data);
                // Layers that are gone, or may be: who was made from them is found out anew.
                if said.windows(8).any(|word| word == b"\"delete\"") {
                    lean.shapes.clear();
                }
            }
            lean.images.changed(0);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
