//! Children that the lean engine makes, behind the same API (docs/decisions/081).
//!
//! It owns what such a child is and does, its log, its events, and the folder in which all that is known of it again
//! after a crash. Which child a call means, what it may say and what is counted was settled before anything comes
//! here, as for Docker's.

mod ahead;
mod all;
mod archive;
mod attach;
mod calls;
mod changes;
mod child;
mod conversation;
mod create;
mod events;
mod exec;
mod filter;
mod images;
mod inspect;
mod journal;
mod keys;
mod log;
mod logs;
mod networks;
mod output;
mod room;
mod run;
mod shapes;
mod stats;
mod streams;
mod wait;
mod words;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use skep_lean::LeanEngine;
use skep_model::{EngineChoice, Function};

pub(crate) use self::calls::call;
pub(crate) use self::child::LeanChild;
pub(crate) use self::create::create;
pub(crate) use self::events::{Wanted as EventsWanted, merged, nanoseconds};
pub(crate) use self::exec::{inspected, resized, started};
pub(crate) use self::filter::{listed, merge};
pub(crate) use self::images::watch as watch_images;
pub(crate) use self::networks::{Change, change, members};
pub(crate) use self::run::end;
pub(crate) use self::shapes::watch_functions;

use self::events::Events;
use self::exec::Exec;
use self::images::Images;
use self::room::Works;
use self::shapes::{Request, Shapes};

/// All children of this kind, and what they are made with.
#[derive(Debug)]
pub(crate) struct Lean {
    pub(crate) engine: Engine,
    /// What `skep.engine=auto` means here.
    choice: EngineChoice,
    /// Whether functions run in networks of tasks of a Swarm's, which no child can have one of its own beside.
    in_tasks: bool,
    /// Where each child has a folder.
    directory: PathBuf,
    children: Mutex<HashMap<String, Arc<LeanChild>>>,
    shapes: Shapes,
    images: Images,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
    pub(crate) events: Events,
    /// What Docker says of the networks of sandboxes, by their containers.
    networks: Mutex<HashMap<String, Value>>,
    works: Works,
    /// Whether Skep is ending.
    ending: AtomicBool,
}

/// The engine, for which there is nothing to print.
pub(crate) struct Engine(pub(crate) LeanEngine);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeanEngine")
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole between any two calls; who panicked while holding it changes nothing about that.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lean {
    pub(crate) fn new(engine: LeanEngine, choice: EngineChoice, in_tasks: bool, directory: PathBuf) -> Self {
        Self {
            engine: Engine(engine),
            choice,
            in_tasks,
            directory,
            children: Mutex::default(),
            shapes: Shapes::default(),
            images: Images::default(),
            execs: Mutex::default(),
            events: Events::default(),
            networks: Mutex::default(),
            works: Works::default(),
            ending: AtomicBool::new(false),
        }
    }

    pub(crate) fn child(&self, id: &str) -> Option<Arc<LeanChild>> {
        lock(&self.children).get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LeanChild>> {
        lock(&self.children).values().cloned().collect()
    }

    /// The container whose network such children are in. On a Swarm that is a task's, which Skep wrote there itself:
    /// who names another container's network is Docker's to make.
    fn joined<'a>(&self, request: &'a Request) -> Option<&'a str> {
        request.joined().filter(|_| self.in_tasks)
    }

    /// Forgets what it knew of a network that went with its container.
    pub(crate) fn network_gone(&self, container: &str) {
        self.shapes.forget_joined(container);
    }

    /// Whether a function's word for its engine leaves children to lean.
    fn is_wanted(&self, function: &Function) -> bool {
        let choice = match function.settings.engine {
            EngineChoice::Auto => self.choice,
            named => named,
        };
        choice != EngineChoice::Docker && self.engine.0.reasons().is_empty()
    }
}
