//! The end of a process that is no child of ours, awaited.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::process::ProcessIdentity;

/// A process whose end can be awaited, whoever started it.
#[derive(Debug)]
pub struct ProcessEnd {
    descriptor: AsyncFd<OwnedFd>,
}

impl ProcessEnd {
    /// Follows a process; to be called on a runtime.
    ///
    /// # Errors
    /// `NotFound` where it has ended already, or what the kernel says.
    pub fn of(process: &ProcessIdentity) -> io::Result<Self> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let id = i32::try_from(process.id).ok().and_then(Pid::from_raw);
        let opened = pidfd_open(id.ok_or_else(gone)?, PidfdFlags::NONBLOCK);
        let descriptor = match opened {
            Err(rustix::io::Errno::SRCH) => return Err(gone()),
            opened => opened?,
        };
        // Its id may have become another's before it was opened.
        if !process.runs() {
            return Err(gone());
        }
        // SAFETY: an `OwnedFd` stays open and the same for as long as the `AsyncFd` that owns it lives.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Self { descriptor })
    }

    /// Waits for it.
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn wait(&self) -> io::Result<()> {
        // A pidfd is readable once its process has ended.
        self.descriptor.readable().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_told() {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("there is a cat");
        let process = ProcessIdentity::of(child.id()).expect("it runs");
        let end = ProcessEnd::of(&process).expect("it can be followed");
        assert!(at_once(end.wait()).await.is_none(), "it has not ended yet");
        drop(child.stdin.take());
        end.wait().await.expect("told");
        child.wait().expect("it is ours");
        let later = ProcessEnd::of(&process).map(drop);
        assert_eq!(later.map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    }

    async fn at_once<F: Future>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
