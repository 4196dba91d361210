//! What is known of the templates' images: their labels, and whether they are still on the engine.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::Docker;
use bollard::errors::Error;

/// An image as far as it matters for templates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Image {
    /// False when the engine no longer has it.
    pub(crate) present: bool,
    /// Its labels; the last that were seen, where it is gone.
    pub(crate) labels: Arc<BTreeMap<String, String>>,
}

/// Images by id (their digest), each asked for once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Images {
    known: Arc<Mutex<HashMap<String, Image>>>,
}

impl Images {
    /// The image with this id; asks the engine where it isn't known, or was gone.
    ///
    /// # Errors
    /// The engine gave no answer.
    pub(crate) async fn get(&self, docker: &Docker, id: &str) -> Result<Image, Error> {
        match self.peek(id) {
            Some(image) if image.present => Ok(image),
            _ => self.refresh(docker, id).await,
        }
    }

    /// Asks the engine for the image, whatever is known of it.
    ///
    /// # Errors
    /// The engine gave no answer.
    pub(crate) async fn refresh(&self, docker: &Docker, id: &str) -> Result<Image, Error> {
        let image = match docker.inspect_image(id).await {
            Ok(found) => {
                let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                Image {
                    present: true,
                    labels: Arc::new(labels.into_iter().collect()),
                }
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Image {
                present: false,
                labels: self.peek(id).map(|image| image.labels).unwrap_or_default(),
            },
            Err(error) => return Err(error),
        };
        self.lock().insert(id.to_owned(), image.clone());
        Ok(image)
    }

    /// What is known of the image without asking.
    pub(crate) fn peek(&self, id: &str) -> Option<Image> {
        self.lock().get(id).cloned()
    }

    /// Forgets every image that no template uses.
    pub(crate) fn keep_only(&self, used: &HashSet<&str>) {
        self.lock().retain(|id, _| used.contains(id.as_str()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Image>> {
        // Every change is a single insertion, so a poisoned map is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
