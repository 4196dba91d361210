//! Keeping what is known of children as Docker has it, and ending those whose time is over.
//!
//! A reconciler: it lists, compares and takes one step. Docker's events say earlier what changed; whatever they miss
//! the next list brings.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use http_body_util::BodyStream;
use jiff::Timestamp;
use serde_json::Value;
use skep_catalogue::Catalogue;
use skep_grant::{Filters, Query, Refusal};
use skep_model::{FunctionName, label};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::answer::empty;
use crate::child::{Child, State};
use crate::daemon::Outgoing;
use crate::engine::Sockets;
use crate::shared::Shared;
use crate::{below, disk, listed, listener, names, totals};

/// How often Docker is listed where nothing says that something changed.
const PERIOD: Duration = Duration::from_secs(15);
/// How long the engine's list may say that a container runs after its event said that it ended.
const ENGINE_LAG: Duration = Duration::from_secs(5);
/// How often children are looked at for being too old.
const LOOK: Duration = Duration::from_secs(1);
/// How long the end of one child may take.
const ENDING: Duration = Duration::from_secs(30);
/// How long a function may be gone before its children go: a template that was pruned is put back meanwhile.
const GRACE: Duration = Duration::from_secs(5);

impl Shared {
    fn filters(&self) -> Filters {
        let mut filters = Filters::default();
        filters.add("label", format!("{}={}", label::NAMESPACE, self.namespace));
        filters.add("label", label::CHILD_OF.to_owned());
        filters
    }

    /// Lists what Docker has, and makes it known; whether that could be done.
    pub(crate) async fn look_now(&self) -> bool {
        // Who waited for another's look has its answer: a thousand refused calls are not a thousand lists.
        let asked = Instant::now();
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|looked| looked > asked) {
            return true;
        }
        *looked = Some(Instant::now());
        let mut query = Query::default();
        query.set("all", "1".to_owned());
        query.set("filters", self.filters().written());
        let begun = Timestamp::now();
        match self
            .daemon
            .ask(Method::GET, &format!("/containers/json{}", query.written()), None)
            .await
        {
            Ok(listed) => {
                self.learn(&listed, begun);
                true
            }
            Err(refusal) => {
                *looked = None;
                tracing::warn!(%refusal, "children could not be listed");
                false
            }
        }
    }

    fn learn(&self, listed: &Value, begun: Timestamp) {
        let mut seen = HashSet::new();
        for entry in listed.as_array().into_iter().flatten() {
            let Some(found) = listed::child(entry, &self.namespace) else {
                continue;
            };
            seen.insert(found.id.clone());
            let mut children = self.children();
            match children.get_mut(&found.id) {
                Some(known) => {
                    known.name.clone_from(&found.name);
                    // What was heard of since the list was asked for is newer than the list, in both directions: who
                    // ended is not to be taken for running, or its next start would not be counted.
                    let wakes =
                        matches!(known.state, State::Exited(_)) && !matches!(found.state, State::Exited(_));
                    let patience = if wakes { ENGINE_LAG } else { Duration::ZERO };
                    let changed = known.started.max(known.ended);
                    if changed.is_none_or(|changed| changed + patience < begun) {
                        known.state = found.state;
                    }
                    if matches!(known.state, State::Exited(_)) {
                        known.ended = known.ended.or(Some(begun));
                    }
                }
                None => children.adopt(found),
            }
        }
        let known: Vec<String> = self
            .children()
            .all()
            .filter(|child| child.created < begun && !seen.contains(&child.id) && !self.is_lean(&child.id))
            .map(|child| child.id.clone())
            .collect();
        for id in known {
            self.gone(&id);
        }
    }

    /// One event of Docker's.
    fn happened(&self, event: &Value) {
        let id = event
            .pointer("/Actor/ID")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let action = event.get("Action").and_then(Value::as_str).unwrap_or_default();
        let attribute = |name: &str| {
            event
                .pointer(&format!("/Actor/Attributes/{name}"))
                .and_then(Value::as_str)
        };
        if action == "destroy" {
            return self.gone(id);
        }
        let mut children = self.children();
        let Some(child) = children.get_mut(id) else { return };
        let now = Timestamp::now();
        match action {
            "start" => children.runs(id, now),
            "die" => {
                let code = attribute("exitCode").and_then(|code| code.parse().ok());
                child.state = State::Exited(code.unwrap_or(0));
                (child.ended, child.disk) = (Some(now), None);
            }
            "rename" => {
                let prefix = names::prefix(&self.namespace, &child.marks.function);
                if let Some(name) = attribute("name") {
                    name.strip_prefix(&prefix)
                        .unwrap_or(name)
                        .clone_into(&mut child.name);
                }
            }
            _ => {}
        }
    }

    /// A child that Docker has no more.
    pub(crate) fn gone(&self, id: &str) {
        let removed = self.children().remove(id);
        let Some(mut child) = removed else { return };
        if let Some(socket) = &child.marks.socket {
            listener::close(self, socket);
        }
        child.ended = child.ended.or(Some(Timestamp::now()));
        child.removed = true;
        self.history.add(child);
    }

    /// Removes the cgroups of functions that have no children. Not with the last of them: another may come at once,
    /// and to remove a cgroup from every hierarchy takes longer than the child did.
    fn forget_shares(&self) {
        self.forget_shares_but(|name| self.children().has_any_of(name));
    }

    /// The same at the end, with which lean's children end; Docker's go on.
    fn forget_shares_of_lean(&self) {
        let children: Vec<Child> = self.children().all().cloned().collect();
        let dockers = children.iter().filter(|child| !self.is_lean(&child.id));
        let dockers: HashSet<&FunctionName> = dockers.map(|child| &child.marks.function).collect();
        self.forget_shares_but(|name| dockers.contains(name));
    }

    fn forget_shares_but(&self, in_use: impl Fn(&FunctionName) -> bool) {
        for function in self.shares.left(&self.namespace) {
            let name = function.parse::<FunctionName>();
            if !name.as_ref().is_ok_and(&in_use) {
                self.shares.forget(&self.namespace, &function);
            }
        }
    }

    /// Removes a child, whatever it is doing, with its anonymous volumes.
    pub(crate) async fn end(self: &Arc<Self>, id: &str) {
        if crate::lean::end(self, id).await {
            return;
        }
        match self
            .daemon
            .ask(Method::DELETE, &format!("/containers/{id}?force=1&v=1"), None)
            .await
        {
            Ok(_) | Err(Refusal { status: 404, .. }) => self.gone(id),
            // Another removal is under way.
            Err(Refusal { status: 409, .. }) => {}
            Err(refusal) => {
                tracing::warn!(container = id, %refusal, "a child could not be removed; it is tried again")
            }
        }
    }

    /// Sees to it that what bounds all children of a function together is there: after a boot the engine starts some
    /// of them by itself, and makes the cgroup above them without limits.
    fn hold_together(&self) {
        let functions: HashSet<FunctionName> = self
            .children()
            .all()
            .map(|child| child.marks.function.clone())
            .collect();
        for name in functions {
            let function = self.function(name.as_str());
            if let Some(spawn) = function
                .as_ref()
                .and_then(|function| function.settings.spawn.as_ref())
            {
                self.shares.of(&self.namespace, &name, spawn);
            }
        }
    }

    /// The children whose time is over, by the clock and by what is in force.
    fn overdue(&self, gone: &HashSet<String>) -> Vec<String> {
        let now = Timestamp::now();
        let children = self.children();
        let mut overdue: Vec<String> = children
            .all()
            .filter(|child| child.marks.deadline <= now || gone.contains(child.marks.function.as_str()))
            .map(|child| child.id.clone())
            .collect();
        overdue.extend(children.surplus());
        overdue
    }
}

impl Sockets {
    /// Keeps children as they should be until `shutdown`; then closes every socket. Children go on without Skep, and
    /// the next one finds them.
    pub async fn run_background(&self, shutdown: CancellationToken) {
        let shared = &self.shared;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = watch_events(shared) => {}
            () = begin_and_tend(shared) => {}
            () = watch_disk(shared) => {}
            () = crate::lean::watch_images(shared) => {}
            () = crate::lean::watch_functions(shared) => {}
        }
        shared.stop.cancel();
        shared.tasks.close();
        shared.tasks.wait().await;
        shared.forget_shares_of_lean();
    }
}

/// What an earlier Skep left is looked at before anything else is; nothing is removed on the word of no list.
async fn begin_and_tend(shared: &Arc<Shared>) {
    while !shared.look_now().await {
        tokio::time::sleep(LOOK).await;
    }
    totals::recall(shared);
    below::reopen(shared).await;
    remove_stale(shared);
    tend(shared).await;
}

/// Sockets of an earlier Skep's instances, and of children that are gone. Those of children that there are have been
/// opened again; where one could not be, its folder stays for the next attempt.
fn remove_stale(shared: &Shared) {
    let mut used: HashSet<String> = shared.open().keys().cloned().collect();
    used.extend(
        shared
            .children()
            .all()
            .filter_map(|child| child.marks.socket.clone()),
    );
    for left in shared.left.iter().filter(|left| !used.contains(*left)) {
        listener::remove(&listener::folder(shared, left));
    }
}

/// Looks every second for who is overdue, and now and then at everything.
async fn tend(shared: &Arc<Shared>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Children that were removed while no Skep looked on left their cgroup behind.
    shared.forget_shares();
    let mut listed = Instant::now();
    let mut missing = Missing::default();
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = shared.look.notified() => listed -= PERIOD,
        }
        if listed.elapsed() >= PERIOD {
            shared.look_now().await;
            below::reopen(shared).await;
            shared.hold_together();
            shared.forget_shares();
            listed = Instant::now();
        }
        let gone = missing.functions(shared);
        for id in shared.overdue(&gone) {
            // The others don't wait for one that does not end.
            if tokio::time::timeout(ENDING, shared.end(&id)).await.is_err() {
                tracing::warn!(container = id, "a child does not end; it is tried again");
            }
        }
    }
}

/// Measures what children write, at its own pace: the engine may take long to answer that.
async fn watch_disk(shared: &Arc<Shared>) {
    loop {
        tokio::time::sleep(disk::PERIOD).await;
        disk::look(shared).await;
    }
}

/// Functions with children that are no longer in force, and since when.
#[derive(Default)]
struct Missing {
    since: std::collections::HashMap<String, Instant>,
}

impl Missing {
    /// Those that are gone for longer than a template takes to be put back, and hold no instance that still works.
    fn functions(&mut self, shared: &Shared) -> HashSet<String> {
        let Some(catalogue) = shared.catalogue.get() else {
            return HashSet::new();
        };
        let names: HashSet<String> = shared
            .children()
            .all()
            .map(|child| child.marks.function.to_string())
            .collect();
        let missing = |name: &String| !is_known(catalogue, name) && !shared.has_instances(name);
        let missing: HashSet<String> = names.into_iter().filter(missing).collect();
        self.since.retain(|name, _| missing.contains(name));
        let now = Instant::now();
        missing
            .into_iter()
            .filter(|name| now.duration_since(*self.since.entry(name.clone()).or_insert(now)) >= GRACE)
            .collect()
    }
}

pub(crate) fn is_known(catalogue: &watch::Receiver<Arc<Catalogue>>, name: &str) -> bool {
    let catalogue = catalogue.borrow();
    catalogue.function(name).is_some() || catalogue.invalid().iter().any(|invalid| invalid.name == name)
}

/// Reads Docker's events for as long as there are any, and again after every break.
async fn watch_events(shared: &Arc<Shared>) {
    loop {
        let mut filters = shared.filters();
        filters.add("type", "container".to_owned());
        let mut query = Query::default();
        query.set("filters", filters.written());
        let call = Outgoing {
            method: Method::GET,
            path: format!("/events{}", query.written()),
            version: shared.daemon.version,
            body: empty(),
            archive: false,
            upgrade: false,
        };
        if let Ok(response) = shared.daemon.send(call).await
            && response.status().is_success()
        {
            shared.look.notify_one();
            let mut rest = Vec::new();
            let mut frames = BodyStream::new(response.into_body());
            while let Some(Ok(frame)) = frames.next().await {
                rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    if let Ok(event) = serde_json::from_slice(&line) {
                        shared.happened(&event);
                    }
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
