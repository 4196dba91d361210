//! What makes instances, as everything above sees it: the narrow traits behind which the `docker` engine and the
//! `lean` engine stand. It owns the contract between dispatching and making; it never decides *when* an instance
//! is made, reused or ended, and never speaks HTTP.

mod instance;
mod launch;

pub use instance::{Exit, Instance, Listener};
pub use launch::{
    Launch, LaunchError, LaunchErrorKind, Launched, OutputReceiver, Pipes, Stdio, output_channel,
};

use futures::future::BoxFuture;
use skep_model::Function;

/// The name of an engine, as `skep ps` and the metrics show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// A Docker container for each instance.
    Docker,
    /// Skep's own instances, made with the kernel's calls.
    Lean,
}

impl EngineKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Lean => "lean",
        }
    }
}

/// Makes instances of functions on this node.
///
/// Dropping the future of [`Engine::launch`] gives the launch up: whatever was made by then is removed in the
/// background, and nothing of it stays behind.
pub trait Engine: Send + Sync + 'static {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Which engine makes the instances of this function, where this is several in one.
    fn kind_for(&self, _function: &Function) -> EngineKind {
        self.kind()
    }

    /// Why a better engine, which this function would be run on, does not make its instances here; empty where none
    /// stands back. Each reason is a sentence for the operator.
    fn fallback(&self, _function: &Function) -> Vec<String> {
        Vec::new()
    }

    /// Why this engine can't run this function here; empty when it can. Each reason is a sentence for the operator.
    fn unsupported(&self, function: &Function) -> Vec<String>;

    /// Makes and starts a fresh instance. It returns when the process was started, ready or not.
    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<Launched, LaunchError>>;
}
