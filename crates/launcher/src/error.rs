//! What can go wrong on a node.

use bollard::errors::Error;

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// The engine refused or did not answer.
    #[error("the engine of this node, asked to {doing}: {source}")]
    Engine {
        /// What it was asked for.
        doing: &'static str,
        /// What it said.
        source: Error,
    },
    /// It was started by hand.
    #[error(
        "no task {task:?} runs on this node: the launcher is started by the service skep-agent, which `skep install` makes"
    )]
    NoTask {
        /// What stands in the environment.
        task: String,
    },
    /// The agent's data stays.
    #[error("{path} can't be removed: {source}", path = .path.display())]
    Data {
        /// The folder.
        path: std::path::PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The agent ends as soon as it is started.
    #[error("the agent ended {times} times within {seconds} s of its start; it said: {last}")]
    Failing {
        /// How often in a row.
        times: u32,
        /// What counts as soon.
        seconds: u64,
        /// Its last words.
        last: String,
    },
}

impl LauncherError {
    pub(crate) fn engine(doing: &'static str) -> impl FnOnce(Error) -> Self {
        move |source| Self::Engine { doing, source }
    }
}

/// Whether the engine's answer has this status (RFC 9110, section 15).
pub(crate) fn is(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}
