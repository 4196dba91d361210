//! Instances made up to their program's start, as the served process holds them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::oneshot::error::TryRecvError;

use crate::client::{self, Child, Descriptors, Spawner, send_on, unasked};
use crate::wire::{self, Ahead, Failure, Order, Request, Said, Streams};

/// An instance that waits for its order. Dropped, it ends.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    line: Arc<UnixDatagram>,
    child: Option<Child>,
}

/// Why an instance that was made ahead does not run.
#[derive(Debug)]
pub enum Refused {
    /// It had ended before it had its order: another can be made with the same streams.
    Gone(Streams),
    /// The step that failed.
    Failed(Failure),
}

impl Spawner {
    /// Makes an instance up to its program's start. It returns when the instance waits for its order; its network is
    /// this one, or an empty one of its own.
    ///
    /// # Errors
    /// As [`Spawner::launch`].
    pub async fn make_ahead(&self, ahead: Ahead, network: Option<OwnedFd>) -> Result<Prepared, Failure> {
        let machine = |error: std::io::Error| {
            let number = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
            unasked(number.unwrap_or(rustix::io::Errno::IO))
        };
        let (ours, theirs) = wire::pair().map_err(machine)?;
        let line = client::line(ours).map_err(machine)?;
        let name = ahead.name.clone();
        let request = |id| Request::Ahead { id, ahead };
        let child = self.start(request, Descriptors::ahead(theirs, network)).await?;
        let mut prepared = Prepared {
            name,
            line,
            child: Some(child),
        };
        let failure = match prepared.hear().await {
            Ok(Some((Said::Ready, descriptors))) => {
                if let Some(child) = &mut prepared.child {
                    child.listener = descriptors.into_iter().next();
                }
                return Ok(prepared);
            }
            Ok(Some((Said::Failed(failure), _))) => failure,
            Ok(None) => unasked(rustix::io::Errno::PIPE),
            Err(error) => machine(error),
        };
        // The next of that name may be made at once.
        prepared.end().await;
        Err(failure)
    }
}

impl Prepared {
    /// The name that it was made under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still waits, as far as is known.
    pub fn waits(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.exited.try_recv(), Err(TryRecvError::Empty)))
    }

    /// Gives it its order. It returns when the instance's own program runs.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn run(mut self, order: &Order, streams: Streams) -> Result<Child, Refused> {
        let given = [&streams.stdin, &streams.stdout, &streams.stderr].map(AsFd::as_fd);
        if send_on(&self.line, order, &given).await.is_err() {
            self.end().await;
            return Err(Refused::Gone(streams));
        }
        match self.hear().await {
            // With its exec the line closes. One that was killed on the way is told by its end, like any other.
            Ok(None | Some((Said::Ready, _))) => {}
            Ok(Some((Said::Failed(failure), _))) => {
                self.end().await;
                return Err(Refused::Failed(failure));
            }
            // The kernel says so where an order was not read.
            Err(_) => {
                self.end().await;
                return Err(Refused::Gone(streams));
            }
        }
        let child = self.child.take();
        child.ok_or_else(|| Refused::Failed(unasked(rustix::io::Errno::PIPE)))
    }

    /// Ends it. It returns when nothing of it runs any more.
    pub async fn end(mut self) {
        if !self.waits() {
            return;
        }
        if let Some(child) = self.child.take() {
            client::end(&child.descriptor);
            let _ended = child.exited.await;
        }
    }

    async fn hear(&self) -> std::io::Result<Option<(Said, Vec<OwnedFd>)>> {
        let mut buffer = Vec::new();
        let receive = || wire::receive(self.line.as_fd(), &mut buffer);
        self.line.async_io(Interest::READABLE, receive).await
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            client::end(&child.descriptor);
        }
    }
}
