//! What the watch knows, and what it does next. All of it is one task's own: nothing here is shared, nothing waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bollard::Docker;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use skep_catalogue::Catalogue;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::copies::Copies;
use crate::images::{Image, Images};
use crate::metrics::Metrics;
use crate::networks::Networks;
use crate::reading::{Held, Read, read};
use crate::removed::Removed;
use crate::restoring::Restoring;
use crate::{Config, Supports};

/// Inspections under way at once: enough to hide the engine's latency, few enough to leave it room for work.
const READS_AT_ONCE: usize = 8;

/// What is known of one container.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `None` where it turned out to be no template of this namespace.
    pub(crate) held: Option<Box<Held>>,
    /// What the list said of it when it was inspected.
    pub(crate) fingerprint: Option<u64>,
    /// When it was inspected.
    pub(crate) learnt: Instant,
}

/// An inspection to make: of what, and the fingerprint that the list gave it.
#[derive(Debug, Clone)]
struct Wanted {
    id: Arc<str>,
    fingerprint: Option<u64>,
}

/// An answer, and the number of the question: an answer to a question that was withdrawn is ignored.
pub(crate) struct Answer {
    pub(crate) id: Arc<str>,
    pub(crate) number: u64,
    pub(crate) fingerprint: Option<u64>,
    pub(crate) read: Read,
}

pub(crate) struct Watcher {
    pub(crate) docker: Docker,
    pub(crate) config: Config,
    pub(crate) supports: Supports,
    pub(crate) metrics: Metrics,
    pub(crate) catalogue: watch::Sender<Arc<Catalogue>>,
    pub(crate) connection: watch::Sender<Connection>,
    pub(crate) images: Images,
    pub(crate) networks: Networks,
    pub(crate) copies: Copies,
    pub(crate) known: HashMap<Arc<str>, Entry>,
    pub(crate) removed: Removed,
    pub(crate) restoring: Restoring,
    /// Something differs from what was published last.
    pub(crate) changed: bool,
    /// The first list is here.
    pub(crate) first_list: bool,
    /// Everything that the first list named has been read.
    pub(crate) listed_once: bool,
    /// Everything is to be inspected again with the next list: events may have been missed.
    pub(crate) distrust: bool,
    /// The time of the last event, by the engine's clock in nanoseconds.
    pub(crate) last_event: Option<i64>,
    /// The creation times of templates that were put back, which count for "the newest wins".
    pub(crate) created: HashMap<Arc<str>, Timestamp>,
    /// Containers to inspect later.
    pub(crate) look_again: Vec<(Instant, Arc<str>)>,
    wanted: VecDeque<Wanted>,
    /// The questions that are open, each with the number of the last one asked about its container.
    pub(crate) asked: HashMap<Arc<str>, u64>,
    number: u64,
    pub(crate) answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    pub(crate) image_answers: FuturesUnordered<BoxFuture<'static, Option<(String, Image)>>>,
}

impl Watcher {
    pub(crate) fn new(
        docker: Docker,
        config: Config,
        supports: Supports,
        metrics: Metrics,
        catalogue: watch::Sender<Arc<Catalogue>>,
        connection: watch::Sender<Connection>,
    ) -> Self {
        Self {
            docker,
            config,
            supports,
            metrics,
            catalogue,
            connection,
            images: Images::default(),
            networks: Networks::default(),
            copies: Copies::default(),
            known: HashMap::new(),
            removed: Removed::default(),
            restoring: Restoring::default(),
            changed: false,
            first_list: false,
            listed_once: false,
            distrust: false,
            last_event: None,
            created: HashMap::new(),
            look_again: Vec::new(),
            wanted: VecDeque::new(),
            asked: HashMap::new(),
            number: 0,
            answers: FuturesUnordered::new(),
            image_answers: FuturesUnordered::new(),
        }
    }

    /// When something falls due that no answer announces.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let look_again = self.look_again.iter().map(|(at, _)| *at).min();
        [look_again, self.removed.next_end()].into_iter().flatten().min()
    }

    /// Does what is due, asks what is to be asked, publishes what changed.
    pub(crate) fn advance(&mut self) {
        let now = Instant::now();
        if self.removed.end_graces(now) {
            self.changed = true;
        }
        let (due, later) = std::mem::take(&mut self.look_again)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.look_again = later;
        for (_, id) in due {
            self.want(id, None);
        }
        while self.answers.len() < READS_AT_ONCE
            && let Some(wanted) = self.wanted.pop_front()
        {
            self.ask(wanted);
        }
        self.restoring.advance(&self.docker);
        if self.first_list && !self.listed_once && self.wanted.is_empty() && self.asked.is_empty() {
            self.listed_once = true;
            self.changed = true;
            self.publish_changes();
            self.connection.send_modify(|connection| connection.listed = true);
        }
        self.publish_changes();
    }

    /// The container is to be inspected; `fingerprint` is what the list says of it now.
    pub(crate) fn want(&mut self, id: Arc<str>, fingerprint: Option<u64>) {
        if let Some(waiting) = self.wanted.iter_mut().find(|wanted| wanted.id == id) {
            waiting.fingerprint = fingerprint;
        } else {
            self.wanted.push_back(Wanted { id, fingerprint });
        }
    }

    /// Whatever is asked about the container no longer matters.
    pub(crate) fn withdraw(&mut self, id: &str) {
        self.wanted.retain(|wanted| &*wanted.id != id);
        self.look_again.retain(|(_, again)| &**again != id);
        self.asked.remove(id);
    }

    /// The templates that stand.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (&Arc<str>, &Held)> {
        self.known
            .iter()
            .filter_map(|(id, entry)| Some((id, &**entry.held.as_ref()?)))
    }

    fn ask(&mut self, wanted: Wanted) {
        let Wanted { id, fingerprint } = wanted;
        self.number += 1;
        let number = self.number;
        self.asked.insert(Arc::clone(&id), number);
        let reading = read(
            self.docker.clone(),
            self.images.clone(),
            self.networks.clone(),
            self.config.clone(),
            self.copies.ask(&id),
            Arc::clone(&id),
        );
        self.answers.push(
            reading
                .map(move |read| Answer {
                    id,
                    number,
                    fingerprint,
                    read,
                })
                .boxed(),
        );
    }
}
