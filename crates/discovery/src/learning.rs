//! How each thing that the watch learns changes what it knows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::events::Event;
use crate::images::Image;
use crate::listing::Listing;
use crate::reading::{Held, Read};
use crate::watcher::{Answer, Entry, Watcher};

/// A deployer may connect further networks after creating; the engine tells nobody when the container is parked.
const LOOK_AGAIN: [Duration; 3] = [
    Duration::from_millis(150),
    Duration::from_millis(750),
    Duration::from_millis(3_000),
];
/// A network that a prune deleted is back by then, and nobody needs to hear of it.
const NETWORK_GRACE: Duration = Duration::from_millis(500);
/// After this a container that could not be inspected is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Watcher {
    /// An event, at its time by the engine's clock.
    pub(crate) fn happened(&mut self, event: Event, time: i64) {
        match event {
            Event::Created(id) => {
                let id: Arc<str> = id.into();
                let now = Instant::now();
                self.look_again
                    .extend(LOOK_AGAIN.map(|later| (now + later, Arc::clone(&id))));
                self.want(id, None);
            }
            Event::Changed(id) => {
                let known = self.known.contains_key(id.as_str()) || self.asked.contains_key(id.as_str());
                if known {
                    self.want(id.into(), None);
                }
            }
            Event::Copied(id) => {
                let id: Arc<str> = id.into();
                if self.known.contains_key(&id) || self.asked.contains_key(&id) {
                    self.copies.doubt(&id);
                    self.want(id, None);
                }
            }
            Event::Destroyed { id, owned } => {
                self.withdraw(&id);
                if !self.lose(&id, time) && !owned {
                    self.removed.other(&id, time);
                }
            }
            Event::ContainersPruned => self.templates_pruned(time),
            Event::ImageLost(id) => {
                if self.images.peek(&id).is_some() {
                    self.ask_image(id);
                }
            }
            Event::ImageGained => self.ask_missing_images(),
            Event::NetworkLost(name) => {
                self.networks.lost(&name, time);
                self.look_at_users_of(&name, NETWORK_GRACE);
            }
            Event::NetworkGained(name) => {
                self.networks.gained(&name);
                self.look_at_users_of(&name, Duration::ZERO);
            }
            Event::NetworksPruned => self.networks_pruned(time),
        }
    }

    /// A full list.
    pub(crate) fn listed(&mut self, listing: Listing) {
        let standing: HashSet<&str> = listing.containers.iter().map(|listed| &*listed.id).collect();
        // What was learnt after the list was asked for may rightly not be in it.
        let missing: Vec<Arc<str>> = self
            .known
            .iter()
            .filter(|(id, entry)| entry.learnt < listing.asked && !standing.contains(&***id))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        for id in missing {
            self.withdraw(&id);
            self.lose(&id, now);
        }
        let distrust = std::mem::take(&mut self.distrust);
        if distrust {
            self.copies.distrust();
            self.networks.distrust();
        }
        for listed in listing.containers {
            let known = self.known.get(&listed.id).and_then(|entry| entry.fingerprint);
            if distrust || known != Some(listed.fingerprint) {
                self.want(listed.id, Some(listed.fingerprint));
            }
        }
        self.ask_missing_images();
        self.first_list = true;
    }

    /// A container was inspected.
    pub(crate) fn answered(&mut self, answer: Answer) {
        let Answer {
            id,
            number,
            fingerprint,
            read,
        } = answer;
        if self.asked.get(&id) != Some(&number) {
            return;
        }
        self.asked.remove(&id);
        self.metrics.reads.inc();
        let learnt = Instant::now();
        match read {
            Read::Template(mut found) => {
                if let Some(created) = self.created.get(&id) {
                    found.template.created = *created;
                }
                if found.problem.is_none() {
                    self.copies.learn(&id, found.template.copied.clone());
                }
                let held = Box::new(Held::new(*found, &self.supports));
                let replaces = self.removed.was_read(&id);
                let before = self.known.get(&id).and_then(|entry| entry.held.as_deref());
                // Looking again mostly shows the same, of which nobody needs to hear.
                self.changed |= replaces || before.is_none_or(|before| !before.is_same(&held));
                self.known.insert(
                    id,
                    Entry {
                        held: Some(held),
                        fingerprint,
                        learnt,
                    },
                );
            }
            Read::Other => {
                let before = self.known.insert(
                    id,
                    Entry {
                        held: None,
                        fingerprint,
                        learnt,
                    },
                );
                self.changed |= before.is_some_and(|entry| entry.held.is_some());
            }
            // Its `destroy` follows, or the next list shows it.
            Read::Gone => {}
            Read::Failed(problem) => {
                tracing::warn!(container = &*id, problem, "a container could not be inspected");
                self.metrics.failed_reads.inc();
                self.look_again.push((learnt + TRY_AGAIN, id));
            }
        }
    }

    /// An image appeared or vanished.
    pub(crate) fn image_answered(&mut self, id: &str, image: &Image) {
        for held in self.known.values_mut().filter_map(|entry| entry.held.as_mut()) {
            let template = &held.template;
            let differs = template.image_present != image.present || template.image_labels != *image.labels;
            if template.image_id == id && differs {
                **held = held.with_image(image, &self.supports);
                self.changed = true;
            }
        }
    }

    /// The container is gone; true where it was known as a template.
    fn lose(&mut self, id: &str, time: i64) -> bool {
        self.created.remove(id);
        self.copies.forget(id);
        match self.known.remove_entry(id) {
            Some((id, Entry { held: Some(held), .. })) => {
                self.removed.template(id, *held, time);
                true
            }
            _ => false,
        }
    }

    fn look_at_users_of(&mut self, network: &str, later: Duration) {
        let at = Instant::now() + later;
        let users: Vec<_> = self
            .standing()
            .filter(|(_, held)| held.template.networks.iter().any(|name| name == network))
            .map(|(id, _)| (at, Arc::clone(id)))
            .collect();
        self.look_again.extend(users);
    }

    fn ask_missing_images(&mut self) {
        let missing: HashSet<String> = self
            .standing()
            .filter(|(_, held)| !held.template.image_present)
            .map(|(_, held)| held.template.image_id.clone())
            .collect();
        missing.into_iter().for_each(|id| self.ask_image(id));
    }

    fn ask_image(&mut self, id: String) {
        let (docker, images) = (self.docker.clone(), self.images.clone());
        let asking = async move {
            // Without an answer nothing is learnt; the next list asks again.
            let image = images.refresh(&docker, &id).await.ok()?;
            Some((id, image))
        };
        self.image_answers.push(asking.boxed());
    }
}
