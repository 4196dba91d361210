//! The end of a sandbox's first process, told to all its instances: with it goes their network.

use std::io;

use skep_docker::FirstProcess;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Knows when a process has ended.
#[derive(Debug)]
pub(crate) struct Life {
    ended: CancellationToken,
    _watch: AbortOnDropHandle<()>,
}

impl Life {
    /// Follows a process.
    ///
    /// # Errors
    /// What the kernel says; a process that has ended is none.
    pub(crate) fn of(process: &FirstProcess) -> io::Result<Self> {
        let end = process.end()?;
        let ended = CancellationToken::new();
        let told = ended.clone();
        let watch = tokio::spawn(async move {
            match end.wait().await {
                Ok(()) => told.cancel(),
                Err(error) => tracing::error!(%error, "a sandbox's end can't be awaited any more"),
            }
        });
        Ok(Self {
            ended,
            _watch: AbortOnDropHandle::new(watch),
        })
    }

    /// Cancelled once the process has ended.
    pub(crate) fn end(&self) -> CancellationToken {
        self.ended.clone()
    }
}
