//! All children together, from one Skep to the next: they end with the one that made them, and the next knows of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::child::{LeanChild, Status};
use super::run::{remove, stop};
use super::{Lean, journal, lock, shapes};
use crate::child::State;
use crate::shared::Shared;

/// How long children have to end when Skep does.
const LAST: Duration = Duration::from_secs(2);
/// How many bytes of what a function's children are made from are kept: those that ended go, the oldest first. Most
/// have some 6 KB; a request may have 256.
const WEIGHT: u64 = 8 << 20;
/// What is said of a child that Skep's end has ended.
pub(super) const ENDED: &str = "Skep ended, and with it the processes of children that its lean engine made";

impl Lean {
    /// Whether Skep is ending.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Ends every child that runs: who made them is about to end.
    pub(crate) async fn end_all(&self, shared: &Shared) {
        self.ending.store(true, Ordering::Release);
        let all = self.all();
        for child in &all {
            drop(lock(&child.ahead).take());
        }
        let all: Vec<_> = all
            .into_iter()
            .filter(|child| child.doing().status.runs())
            .collect();
        let ends = all
            .iter()
            .map(|child| stop(shared, self, child, (15, Some(LAST))));
        futures::future::join_all(ends).await;
    }

    /// Returns when none runs.
    pub(crate) async fn all_ended(&self) {
        while let Some(child) = self.all().into_iter().find(|child| child.doing().status.runs()) {
            // Its sender is the child's own.
            let _ = child.watch().wait_for(|doing| !doing.status.runs()).await;
        }
    }

    /// Takes what an earlier Skep wrote down for its children; those that ran have ended with it.
    pub(crate) async fn recover(self: &Arc<Self>, shared: &Arc<Shared>) {
        shapes::remove_stale(shared).await;
        let directory = self.directory.clone();
        let found = tokio::task::spawn_blocking(move || journal::read(&directory))
            .await
            .unwrap_or_default();
        for (folder, facts, last) in found {
            let kept = folder.clone();
            let child = LeanChild::read(folder, &facts, &last);
            let marked = child.as_ref().and_then(|child| self.marked(shared, child));
            let (Some(child), Some(known)) = (child, marked) else {
                journal::forget(&kept);
                continue;
            };
            let child = Arc::new(child);
            let left = child.clone();
            let (engine, parent) = (self.engine.0.clone(), child.request.parent.clone());
            let names = vec![child.id.clone()];
            let cleared = tokio::task::spawn_blocking(move || {
                engine.clear_children(parent.as_deref().unwrap_or_default(), &names);
            });
            drop(cleared.await);
            lock(&self.children).insert(child.id.clone(), child.clone());
            shared.children().adopt(known);
            if left.doing().status.runs() {
                let now = Timestamp::now();
                left.change(|doing| {
                    doing.status = Status::Exited;
                    doing.code = 137;
                    doing.finished = Some(now);
                    ENDED.clone_into(&mut doing.error);
                });
                self.events
                    .say(shared, &left, "die", &[("exitCode", "137".to_owned())]);
                if left.removes_itself() {
                    remove(shared, self, &left);
                }
            }
        }
    }

    /// A child as it is known beside Docker's.
    fn marked(&self, shared: &Shared, child: &LeanChild) -> Option<crate::child::Child> {
        let get = |key: &str| {
            child
                .labels
                .get(key)
                .and_then(|value| value.as_str())
                .map(str::to_owned)
        };
        let marks = crate::labels::Marks::read(get, &shared.namespace)?;
        let doing = child.doing();
        let state = match doing.status {
            Status::Created => State::Created,
            // Those that ran when Skep ended run no more.
            Status::Running | Status::Paused => State::Exited(137),
            Status::Exited | Status::Removed => State::Exited(doing.code),
        };
        Some(crate::child::Child {
            id: child.id.clone(),
            name: lock(&child.name).clone(),
            marks,
            state,
            created: child.created,
            started: doing.started,
            ended: doing.finished,
            removed: false,
            disk: None,
            over: None,
        })
    }

    /// Removes the oldest ended children of a function, where more is kept of all of them than may be.
    pub(super) async fn bound_weight(self: &Arc<Self>, shared: &Arc<Shared>, function: &str) {
        let mut own = self.all();
        own.retain(|child| child.request.function == function);
        let mut weight: u64 = own.iter().map(|child| child.weight).sum();
        if weight <= WEIGHT {
            return;
        }
        own.retain(|child| child.doing().status == Status::Exited);
        own.sort_by_key(|child| child.doing().finished);
        for child in own {
            if weight <= WEIGHT {
                break;
            }
            let _alone = child.busy.lock().await;
            if child.doing().status == Status::Exited {
                weight -= child.weight;
                remove(shared, self, &child);
            }
        }
    }

    /// Lets the oldest ended children of a function give up their files, where all of them keep too much.
    pub(super) fn bound_files(&self, shared: &Shared, latest: &LeanChild) {
        let function = &latest.request.function;
        let granted = shared
            .function(function)
            .and_then(|function| function.settings.spawn.clone());
        let mut left = granted.map_or(64 << 20, |spawn| spawn.memory / 4);
        let mut ended: Vec<_> = self.all();
        ended.retain(|child| child.request.function == *function && child.doing().mounts.is_some());
        ended.retain(|child| child.doing().status == Status::Exited);
        ended.sort_by_key(|child| std::cmp::Reverse(child.doing().finished));
        for child in ended {
            let kept = child.used.load(Ordering::Relaxed);
            if kept > left {
                tracing::info!(
                    container = child.id,
                    kept,
                    "an ended child gave up its files, which are kept in memory"
                );
                child.used.store(0, Ordering::Relaxed);
                child.change(|doing| doing.mounts = None);
            } else {
                left -= kept;
            }
        }
    }
}
