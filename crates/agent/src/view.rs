//! A sandbox as an operator sees it.

use std::sync::Arc;

use skep_dispatch::Snapshot;
use skep_engine::{Engine, EngineKind};
use skep_lean::Engines;
use skep_model::Function;

use crate::sandbox::Sandbox;

/// One sandbox, with what goes on in it.
#[derive(Debug, Clone)]
pub struct SandboxView {
    /// Docker's id of its container.
    pub container: String,
    /// The function that it is for, as the sandbox's share of it.
    pub function: Arc<Function>,
    /// The engine that makes its instances.
    pub engine: EngineKind,
    /// Why a better one doesn't.
    pub fallback: Vec<String>,
    /// Why it can't be used; empty where it can.
    pub reasons: Vec<String>,
    /// Whether it takes nothing more.
    pub draining: bool,
    /// When it was found.
    pub created: jiff::Timestamp,
    /// Its instances and callers.
    pub snapshot: Snapshot,
}

impl SandboxView {
    pub(crate) fn of(sandbox: &Sandbox, engines: &Engines) -> Self {
        Self {
            container: sandbox.id.clone(),
            function: sandbox.function.clone(),
            engine: engines.kind_for(&sandbox.function),
            fallback: engines.fallback(&sandbox.function),
            reasons: sandbox.reasons.clone(),
            draining: sandbox.is_draining(),
            created: sandbox.found,
            snapshot: sandbox.dispatcher.snapshot(),
        }
    }
}
