//! Makes a catalogue of all that is held and hands it to whoever reads it.

use std::collections::HashSet;
use std::sync::Arc;

use skep_catalogue::Catalogue;
use skep_model::{Function, Invalid};

use crate::watcher::Watcher;

/// Says in the log which templates are invalid that were not so before.
pub fn warn_of_invalid(catalogue: &Catalogue, previous: &Catalogue) {
    for invalid in catalogue.invalid() {
        let known = previous.invalid().contains(invalid);
        if !known {
            tracing::warn!(
                function = invalid.name,
                template = invalid.template_name,
                reasons = invalid.reasons.join("; "),
                "invalid template"
            );
        }
    }
}

impl Watcher {
    /// Publishes where something changed and everything that was to be read at first has been.
    pub(crate) fn publish_changes(&mut self) {
        if !self.changed || !self.listed_once {
            return;
        }
        self.changed = false;
        let previous = Arc::clone(&self.catalogue.borrow());
        let catalogue = Catalogue::resolve(&self.config.namespace, self.candidates(), Some(&previous));
        warn_of_invalid(&catalogue, &previous);
        self.catalogue.send_replace(Arc::new(catalogue));
        self.forget_unused();
    }

    fn candidates(&self) -> Vec<Result<Function, Invalid>> {
        let being_put_back = self.removed.names_being_put_back();
        self.standing()
            .map(|(_, held)| held)
            .filter(|held| !being_put_back.contains(held.template.name.as_str()))
            .chain(self.removed.in_force())
            .map(|held| held.candidate.clone())
            .collect()
    }

    fn forget_unused(&self) {
        let all = || {
            self.standing()
                .map(|(_, held)| held)
                .chain(self.removed.all())
                .map(|held| &held.template)
        };
        let images: HashSet<&str> = all().map(|template| template.image_id.as_str()).collect();
        self.images.keep_only(&images);
        let networks: HashSet<&str> = all()
            .flat_map(|template| &template.networks)
            .map(String::as_str)
            .collect();
        self.networks.keep_only(&networks);
    }
}
