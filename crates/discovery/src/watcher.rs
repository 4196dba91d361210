//! What the watch knows, and how each thing that it learns changes that. All of it is one task's own: nothing here
//! is shared, and nothing waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::FutureExt;
use jiff::Timestamp;
use skep_catalogue::Catalogue;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::events::Event;
use crate::images::{Image, Images};
use crate::listing::Listing;
use crate::metrics::Metrics;
use crate::reading::{Held, Read, read};
use crate::removed::Removed;
use crate::{Config, Supports, putback};

/// Inspections under way at once: enough to hide the engine's latency, few enough to leave it room for work.
const READS_AT_ONCE: usize = 8;
/// Templates put back at once.
const PUT_BACK_AT_ONCE: usize = 8;
/// A deployer may connect further networks after creating; the engine tells nobody when the container is parked.
const LOOK_AGAIN: [Duration; 3] =
    [Duration::from_millis(150), Duration::from_millis(750), Duration::from_millis(3_000)];

/// What is known of one container.
#[derive(Debug)]
pub(crate) enum Entry {
    Template { held: Box<Held>, fingerprint: Option<u64>, learnt: Instant },
    Other { fingerprint: Option<u64>, learnt: Instant },
}

impl Entry {
    fn fingerprint(&self) -> Option<u64> {
        match self {
            Self::Template { fingerprint, .. } | Self::Other { fingerprint, .. } => *fingerprint,
        }
    }

    fn learnt(&self) -> Instant {
        match self {
            Self::Template { learnt, .. } | Self::Other { learnt, .. } => *learnt,
        }
    }
}

/// An inspection to make: of what, and the fingerprint that the list gave it.
#[derive(Debug, Clone)]
struct Wanted {
    id: Arc<str>,
    fingerprint: Option<u64>,
}

/// An answer, and the number of the question: an answer to a question that was withdrawn is ignored.
pub(crate) struct Answer {
    id: Arc<str>,
    number: u64,
    fingerprint: Option<u64>,
    read: Read,
}

pub(crate) struct PutBack {
    /// The function whose further templates wait for this one.
    function: String,
    old: Arc<str>,
    result: Result<Arc<str>, putback::PutBackError>,
}

pub(crate) struct Watcher {
    pub(crate) docker: Docker,
    pub(crate) config: Config,
    pub(crate) supports: Supports,
    pub(crate) metrics: Metrics,
    pub(crate) catalogue: watch::Sender<Arc<Catalogue>>,
    pub(crate) connection: watch::Sender<Connection>,
    pub(crate) images: Images,
    pub(crate) known: HashMap<Arc<str>, Entry>,
    pub(crate) removed: Removed,
    /// Something differs from what was published last.
    pub(crate) changed: bool,
    /// Everything that the first list named has been read.
    pub(crate) listed_once: bool,
    /// The first list is here.
    first_list: bool,
    /// Everything is to be inspected again with the next list: events may have been missed.
    pub(crate) distrust: bool,
    /// The time of the last event, by the engine's clock in nanoseconds.
    pub(crate) last_event: Option<i64>,
    wanted: VecDeque<Wanted>,
    asked: HashMap<Arc<str>, u64>,
    number: u64,
    pub(crate) answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    look_again: Vec<(Instant, Arc<str>)>,
    /// The creation times of templates that were put back, which count for "the newest wins".
    created: HashMap<Arc<str>, Timestamp>,
    to_put_back: Vec<VecDeque<(Arc<str>, Held)>>,
    pub(crate) put_backs: FuturesUnordered<BoxFuture<'static, PutBack>>,
    putting_back: HashMap<String, VecDeque<(Arc<str>, Held)>>,
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
            known: HashMap::new(),
            removed: Removed::default(),
            changed: false,
            listed_once: false,
            first_list: false,
            distrust: false,
            last_event: None,
            wanted: VecDeque::new(),
            asked: HashMap::new(),
            number: 0,
            answers: FuturesUnordered::new(),
            look_again: Vec::new(),
            created: HashMap::new(),
            to_put_back: Vec::new(),
            put_backs: FuturesUnordered::new(),
            putting_back: HashMap::new(),
            image_answers: FuturesUnordered::new(),
        }
    }

    /// An event, at its time by the engine's clock.
    pub(crate) fn happened(&mut self, event: Event, time: i64) {
        match event {
            Event::Created(id) => {
                let id: Arc<str> = id.into();
                let now = Instant::now();
                self.look_again.extend(LOOK_AGAIN.map(|later| (now + later, Arc::clone(&id))));
                self.want(id, None);
            }
            Event::Changed(id) => {
                let known = self.known.get_key_value(id.as_str()).map(|(id, _)| Arc::clone(id));
                if let Some(id) = known.or_else(|| self.asked.contains_key(id.as_str()).then(|| id.into())) {
                    self.want(id, None);
                }
            }
            Event::Destroyed { id, owned } => {
                self.withdraw(&id);
                if !self.lose(&id, time) && !owned {
                    self.removed.other(&id, time);
                }
            }
            Event::ContainersPruned => self.pruned(time),
            Event::ImageLost(id) => {
                if self.images.peek(&id).is_some() {
                    self.ask_image(id);
                }
            }
            Event::ImageGained => self.ask_missing_images(),
        }
    }

    /// A full list.
    pub(crate) fn listed(&mut self, listing: Listing) {
        let standing: HashSet<&str> = listing.containers.iter().map(|listed| &*listed.id).collect();
        // What was learnt after the list was asked for may rightly not be in it.
        let missing: Vec<Arc<str>> = self
            .known
            .iter()
            .filter(|(id, entry)| entry.learnt() < listing.asked && !standing.contains(&***id))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        for id in missing {
            self.withdraw(&id);
            self.lose(&id, now);
        }
        let distrust = std::mem::take(&mut self.distrust);
        for listed in listing.containers {
            let known = self.known.get(&listed.id).and_then(Entry::fingerprint);
            if distrust || known != Some(listed.fingerprint) {
                self.want(listed.id, Some(listed.fingerprint));
            }
        }
        self.ask_missing_images();
        self.first_list = true;
    }

    /// A container was inspected.
    pub(crate) fn answered(&mut self, answer: Answer) {
        let Answer { id, number, fingerprint, read } = answer;
        if self.asked.get(&id) != Some(&number) {
            return;
        }
        self.asked.remove(&id);
        self.metrics.reads.inc();
        let learnt = Instant::now();
        match read {
            Read::Template { mut template, revision } => {
                if let Some(created) = self.created.get(&id) {
                    template.created = *created;
                }
                let held = Box::new(Held::new(*template, revision, &self.supports));
                let entry = Entry::Template { held, fingerprint, learnt };
                self.known.insert(Arc::clone(&id), entry);
                self.removed.was_read(&id);
                self.changed = true;
            }
            Read::Other => {
                let entry = Entry::Other { fingerprint, learnt };
                if let Some(Entry::Template { .. }) = self.known.insert(id, entry) {
                    self.changed = true;
                }
            }
            // Its `destroy` follows, or the next list shows it.
            Read::Gone => {}
            Read::Failed(problem) => {
                tracing::warn!(container = &*id, problem, "a container could not be inspected");
                self.metrics.failed_reads.inc();
                self.look_again.push((learnt + Duration::from_secs(1), id));
            }
        }
    }

    /// An image appeared or vanished.
    pub(crate) fn image_answered(&mut self, id: &str, image: &Image) {
        for entry in self.known.values_mut() {
            if let Entry::Template { held, .. } = entry
                && held.template.image_id == id
                && (held.template.image_present != image.present
                    || held.template.image_labels != *image.labels)
            {
                **held = held.with_image(image, &self.supports);
                self.changed = true;
            }
        }
    }

    /// A template was put back, or could not be.
    pub(crate) fn was_put_back(&mut self, done: PutBack) {
        let PutBack { function, old, result } = done;
        match result {
            Ok(new) => {
                tracing::info!(function, "put back a template that a prune had deleted");
                self.metrics.put_back.inc();
                self.removed.put_back(&old, Arc::clone(&new));
                self.want(new, None);
            }
            Err(error) => {
                let problem = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
                tracing::error!(function, problem, "a prune deleted a template, and it can't be put back");
                self.metrics.put_back_failed.inc();
                self.removed.give_up(&old);
                self.changed = true;
            }
        }
        match self.putting_back.remove(&function) {
            Some(rest) if !rest.is_empty() => self.to_put_back.push(rest),
            _ => {}
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
        let (due, later) = std::mem::take(&mut self.look_again).into_iter().partition(|(at, _)| *at <= now);
        self.look_again = later;
        for (_, id) in due {
            self.want(id, None);
        }
        while self.answers.len() < READS_AT_ONCE
            && let Some(wanted) = self.wanted.pop_front()
        {
            self.ask(wanted);
        }
        while self.putting_back.len() < PUT_BACK_AT_ONCE
            && let Some(group) = self.to_put_back.pop()
        {
            self.put_back(group);
        }
        if self.first_list && self.wanted.is_empty() && self.asked.is_empty() && !self.listed_once {
            self.listed_once = true;
            self.changed = true;
            self.publish_changes();
            self.connection.send_modify(|connection| connection.listed = true);
        }
        self.publish_changes();
    }

    fn want(&mut self, id: Arc<str>, fingerprint: Option<u64>) {
        if let Some(waiting) = self.wanted.iter_mut().find(|wanted| wanted.id == id) {
            waiting.fingerprint = fingerprint;
        } else {
            self.wanted.push_back(Wanted { id, fingerprint });
        }
    }

    /// Whatever is asked about the container no longer matters.
    fn withdraw(&mut self, id: &str) {
        self.wanted.retain(|wanted| &*wanted.id != id);
        self.look_again.retain(|(_, again)| &**again != id);
        self.asked.remove(id);
    }

    fn ask(&mut self, wanted: Wanted) {
        let Wanted { id, fingerprint } = wanted;
        self.number += 1;
        let number = self.number;
        self.asked.insert(Arc::clone(&id), number);
        let namespace = self.config.namespace.clone();
        let reading = read(self.docker.clone(), self.images.clone(), namespace, Arc::clone(&id));
        self.answers.push(reading.map(move |read| Answer { id, number, fingerprint, read }).boxed());
    }

    /// True where the container was known as a template.
    fn lose(&mut self, id: &str, time: i64) -> bool {
        self.created.remove(id);
        match self.known.remove_entry(id) {
            Some((id, Entry::Template { held, .. })) => {
                self.removed.template(id, *held, time);
                true
            }
            _ => false,
        }
    }

    fn pruned(&mut self, time: i64) {
        let found = self.removed.prune(time);
        if found.is_empty() {
            return;
        }
        tracing::warn!(templates = found.len(), "a prune deleted templates; putting them back");
        self.changed = true;
        // One function's templates one after another, oldest first: their order says which one wins.
        let mut groups: HashMap<String, VecDeque<(Arc<str>, Held)>> = HashMap::new();
        for (id, held) in found {
            groups.entry(held.function().to_owned()).or_default().push_back((id, held));
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        // The oldest is taken from the end, so that of two that want one route the older stays the older.
        groups.sort_by_key(|group| std::cmp::Reverse(group.front().map(|(_, held)| held.template.created)));
        self.to_put_back.extend(groups);
    }

    fn put_back(&mut self, mut group: VecDeque<(Arc<str>, Held)>) {
        let Some((old, held)) = group.pop_front() else { return };
        let function = held.function().to_owned();
        if let Some(running) = self.putting_back.get_mut(&function) {
            running.push_back((old, held));
            running.extend(group);
            return;
        }
        self.putting_back.insert(function.clone(), group);
        let docker = self.docker.clone();
        let working = async move {
            let result = putback::put_back(&docker, &held.template).await;
            PutBack { function, old, result }
        };
        self.put_backs.push(working.boxed());
    }

    fn ask_missing_images(&mut self) {
        let missing: HashSet<String> = self
            .known
            .values()
            .filter_map(|entry| match entry {
                Entry::Template { held, .. } if !held.template.image_present => {
                    Some(held.template.image_id.clone())
                }
                _ => None,
            })
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
