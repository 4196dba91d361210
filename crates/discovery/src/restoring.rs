//! Putting back what a prune deleted: templates, and the networks that only they named.

use std::collections::{HashMap, VecDeque};
use std::error::Error as _;
use std::sync::Arc;

use bollard::Docker;
use bollard::models::NetworkCreateRequest;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::putback::{self, PutBackError};
use crate::reading::Held;
use crate::watcher::Watcher;

/// Templates put back at once.
const AT_ONCE: usize = 8;

/// One function's templates, the oldest first: one is put back after another, since their order says which wins.
type Group = VecDeque<(Arc<str>, Held)>;

/// What became of something that was to be put back.
#[derive(Debug)]
pub(crate) enum PutBack {
    Template {
        /// The function whose further templates wait for this one.
        function: String,
        old: Arc<str>,
        result: Result<Arc<str>, PutBackError>,
    },
    Network {
        name: String,
        result: Result<(), PutBackError>,
    },
}

/// What waits to be put back, and what is being.
#[derive(Default)]
pub(crate) struct Restoring {
    waiting: Vec<Group>,
    networks: VecDeque<NetworkCreateRequest>,
    /// By function: what waits for the template that is being put back.
    running: HashMap<String, Group>,
    pub(crate) done: FuturesUnordered<BoxFuture<'static, PutBack>>,
}

impl Restoring {
    /// Begins what may begin.
    pub(crate) fn advance(&mut self, docker: &Docker) {
        while let Some(network) = self.networks.pop_front() {
            let (docker, name) = (docker.clone(), network.name.clone());
            let working = async move {
                PutBack::Network {
                    name,
                    result: putback::network(&docker, network).await,
                }
            };
            self.done.push(working.boxed());
        }
        while self.running.len() < AT_ONCE
            && let Some(mut group) = self.waiting.pop()
            && let Some((old, held)) = group.pop_front()
        {
            let function = held.function().to_owned();
            if let Some(running) = self.running.get_mut(&function) {
                running.push_back((old, held));
                running.extend(group);
                continue;
            }
            self.running.insert(function.clone(), group);
            let docker = docker.clone();
            let working = async move {
                let result = putback::template(&docker, &held.template).await;
                PutBack::Template {
                    function,
                    old,
                    result,
                }
            };
            self.done.push(working.boxed());
        }
    }

    fn templates(&mut self, found: Vec<(Arc<str>, Held)>) {
        let mut groups: HashMap<String, Group> = HashMap::new();
        for (id, held) in found {
            groups
                .entry(held.function().to_owned())
                .or_default()
                .push_back((id, held));
        }
        self.waiting.extend(groups.into_values());
        // Taken from the end: so of two functions that want one route the older stays the older.
        self.waiting
            .sort_by_key(|group| std::cmp::Reverse(group.front().map(|(_, held)| held.template.created)));
    }

    fn finished(&mut self, function: &str) {
        if let Some(rest) = self.running.remove(function)
            && !rest.is_empty()
        {
            self.waiting.push(rest);
        }
    }
}

impl Watcher {
    /// A prune of containers ended: the templates that it deleted are to be put back.
    pub(crate) fn templates_pruned(&mut self, time: i64) {
        let found = self.removed.prune(time);
        if found.is_empty() {
            return;
        }
        tracing::warn!(
            templates = found.len(),
            "a prune deleted templates; putting them back"
        );
        self.changed = true;
        self.restoring.templates(found);
    }

    /// A prune of networks ended: those that it deleted and templates name are to be put back.
    pub(crate) fn networks_pruned(&mut self, time: i64) {
        self.restoring.networks.extend(self.networks.pruned(time));
    }

    /// Something was put back, or could not be.
    pub(crate) fn was_put_back(&mut self, done: PutBack) {
        match done {
            PutBack::Template {
                function,
                old,
                result,
            } => {
                self.restoring.finished(&function);
                match result {
                    Ok(new) => {
                        tracing::info!(function, "put back a template that a prune had deleted");
                        self.metrics.put_back.inc();
                        if let Some(created) = self.removed.put_back(&old, Arc::clone(&new)) {
                            self.created.insert(Arc::clone(&new), created);
                        }
                        self.want(new, None);
                    }
                    Err(error) => {
                        let problem = explain(&error);
                        tracing::error!(
                            function,
                            problem,
                            "a prune deleted a template that can't be put back"
                        );
                        self.metrics.put_back_failed.inc();
                        self.removed.give_up(&old);
                        self.changed = true;
                    }
                }
            }
            // Its `create` makes the templates that name it be looked at.
            PutBack::Network { name, result: Ok(()) } => {
                tracing::warn!(network = name, "put back a network that a prune had deleted");
            }
            PutBack::Network {
                name,
                result: Err(error),
            } => {
                let problem = explain(&error);
                tracing::error!(
                    network = name,
                    problem,
                    "a prune deleted a network that can't be put back"
                );
            }
        }
    }
}

fn explain(error: &PutBackError) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
