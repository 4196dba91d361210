//! What one call to the engine may come to.

use std::io;

use bollard::errors::Error as BollardError;
use skep_engine::{LaunchError, LaunchErrorKind};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine answered that it won't.
    #[error("the engine refused ({status}): {message}")]
    Refused {
        /// The HTTP status of its answer.
        status: u16,
        /// Its words.
        message: String,
    },
    /// No answer in time.
    #[error("the engine did not answer within {} s", crate::client::TIMEOUT_SECONDS)]
    TimedOut,
    /// No connection, or one that broke.
    #[error("the engine can't be reached")]
    Unreachable(#[from] io::Error),
}

impl CallError {
    /// Whether the engine says that there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the engine says that something else is going on with the object.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// The error with everything that led to it, for one line of a log.
    pub(crate) fn chain(&self) -> String {
        match self {
            Self::Unreachable(source) => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// As the failure of a launch, while doing something (`creating the container`).
    pub(crate) fn while_launching(&self, doing: &str) -> LaunchError {
        let kind = match self {
            Self::Refused { .. } => LaunchErrorKind::StartFailed,
            Self::TimedOut | Self::Unreachable(_) => LaunchErrorKind::EngineUnavailable,
        };
        LaunchError {
            kind,
            message: format!("{doing}: {}", self.chain()),
        }
    }
}

impl From<BollardError> for CallError {
    fn from(error: BollardError) -> Self {
        match error {
            BollardError::DockerResponseServerError { status_code, message } => Self::Refused {
                status: status_code,
                message,
            },
            BollardError::RequestTimeoutError => Self::TimedOut,
            BollardError::IOError { err } => Self::Unreachable(err),
            other => Self::Unreachable(io::Error::other(other)),
        }
    }
}

impl From<CallError> for io::Error {
    fn from(error: CallError) -> Self {
        let kind = match &error {
            CallError::Refused { status: 404, .. } => io::ErrorKind::NotFound,
            CallError::TimedOut => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error.chain())
    }
}
