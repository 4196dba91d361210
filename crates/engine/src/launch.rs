//! Starting an instance: what is asked for, what comes back, what can go wrong.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skep_model::{Function, InstanceId, LogLine, ProblemCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::instance::Instance;

/// What becomes of the process's standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// Standard input is empty, standard output and error are the log (`http`).
    Log,
    /// Standard input and output are [`Pipes`], standard error is the log (`exec`, `cgi`).
    Pipe,
}

/// A request for one fresh instance.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The id that the instance is to have.
    pub instance: InstanceId,
    /// What to run.
    pub function: Arc<Function>,
    /// Variables over the template's own. The engine adds `SKEP_FUNCTION`, `SKEP_URL` and, for `http`, `PORT`.
    pub environment: Vec<(String, String)>,
    /// What becomes of the standard streams.
    pub stdio: Stdio,
    /// The socket on the node that it is to find as Docker's.
    pub socket: Option<PathBuf>,
}

/// Standard input and output of an `exec` or `cgi` instance.
///
/// Shutting `stdin` down is the end of file for the process. Not reading `stdout` stops the process in its write,
/// so that a slow reader costs no memory.
pub struct Pipes {
    /// Where the request's body goes.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// Where the response's body comes from; it ends when every holder of the pipe closed it.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipes")
    }
}

/// The lines that an instance writes to its log; it ends after the instance's last line.
pub type OutputReceiver = mpsc::Receiver<LogLine>;

/// The channel for an instance's log. Its bound is what makes a flooding instance wait for its reader.
pub fn output_channel() -> (mpsc::Sender<LogLine>, OutputReceiver) {
    mpsc::channel(64)
}

/// A started instance.
#[derive(Debug)]
pub struct Launched {
    /// The instance. It runs until it exits by itself, or is stopped and removed.
    pub instance: Arc<dyn Instance>,
    /// Its pipes, with [`Stdio::Pipe`].
    pub pipes: Option<Pipes>,
    /// Its log.
    pub output: OutputReceiver,
    /// How long the sandbox took, where one had to be made.
    pub sandbox: Option<Duration>,
    /// How long making and starting the instance took.
    pub start: Duration,
}

/// What kind of failure kept an instance from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchErrorKind {
    /// The engine does not answer, or not in time: another function would fail as well.
    EngineUnavailable,
    /// This template can't be started: no such command, image gone, a mount that fails.
    StartFailed,
}

impl LaunchErrorKind {
    /// What the caller is told.
    pub fn problem(self) -> ProblemCode {
        match self {
            Self::EngineUnavailable => ProblemCode::EngineUnavailable,
            Self::StartFailed => ProblemCode::StartFailed,
        }
    }
}

/// Why no instance was started. The message is the operator's; it may name paths and quote the daemon.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// What kind of failure.
    pub kind: LaunchErrorKind,
    /// What was tried and what the engine said.
    pub message: String,
}
