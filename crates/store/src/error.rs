//! What can go wrong here, and what the caller of a function is told of it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use skep_model::{InvocationId, Problem, ProblemCode};

/// Why the store can't do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory.
    #[error("the data directory {} is in use by {}; one `skep serve` has it at a time: stop that one, or give \
             this one another --data-dir", directory.display(), holder(*process))]
    Locked {
        /// The data directory.
        directory: PathBuf,
        /// The other's process id, where it could be read.
        process: Option<u32>,
    },
    /// The database was written by a newer Skep.
    #[error("{} has the schema version {found}, this Skep knows versions up to {known}: run the newer Skep, or \
             give this one another --data-dir", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The database refused: the disk is full, or an I/O error.
    #[error("can't {action} in the database")]
    Database {
        /// What was tried.
        action: &'static str,
        /// What SQLite said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// A file or directory refused.
    #[error("can't {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The queue of a Swarm refused, or does not answer.
    #[error("can't {action} in the queue (NATS)")]
    Queue {
        /// What was tried.
        action: &'static str,
        /// What was said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A body is larger than its limit.
    #[error("the body has more than {limit} bytes, which is the limit")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// As many invocations wait for the function as its `skep.backlog` allows.
    #[error("{limit} accepted invocations wait for {function} already, as many as its skep.backlog allows")]
    BacklogFull {
        /// The function.
        function: String,
        /// Its limit.
        limit: u64,
    },
    /// No asynchronous invocation has this id.
    #[error("there is no asynchronous invocation {0}")]
    Unknown(InvocationId),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

impl StoreError {
    pub(crate) fn database(action: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Database {
            action,
            source: Arc::new(source),
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source: Arc::new(source),
        }
    }

    /// The answer to the caller: `body-too-large`, `backlog-full`, `not-found` or `storage-unavailable`.
    pub fn problem(&self) -> Problem {
        match self {
            Self::BodyTooLarge { limit } => {
                Problem::new(ProblemCode::BodyTooLarge).detail(format!("At most {limit} bytes are accepted."))
            }
            Self::BacklogFull { .. } => Problem::new(ProblemCode::BacklogFull).retry_after(5),
            Self::Unknown(_) => Problem::new(ProblemCode::NotFound),
            _ => Problem::new(ProblemCode::StorageUnavailable)
                .internal(self.with_sources())
                .retry_after(5),
        }
    }

    /// The message with what is behind it, for logs.
    pub fn with_sources(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            text = format!("{text}: {source}");
            next = source.source();
        }
        text
    }
}
