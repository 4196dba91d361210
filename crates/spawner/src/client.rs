//! The served process's side: starting the spawner, and asking it for instances.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::oneshot;

use crate::spec::Spec;
use crate::wire::{self, Exited, Failure, Launch, Reply, Request, Streams};

/// A running spawner, as the rest of Skep sees it.
#[derive(Debug, Clone)]
pub struct Spawner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A socket of whole messages in order; to the runtime it is like one of datagrams.
    socket: UnixDatagram,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    launched: Option<oneshot::Sender<Result<Child, Failure>>>,
    exited: Option<oneshot::Sender<Exited>>,
}

/// A started instance's first process.
#[derive(Debug)]
pub struct Child {
    /// Its id, as this process sees it.
    pub process: u32,
    /// Its pidfd.
    pub descriptor: OwnedFd,
    /// Says how it ended, once its cgroups are empty; an error means that the spawner itself has ended.
    pub exited: oneshot::Receiver<Exited>,
}

impl Spawner {
    /// The two ends of the line: one for [`Spawner::connect`], one for [`crate::serve`] in the other process.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        wire::pair()
    }

    /// Talks to the spawner at the other end; within a tokio runtime.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn connect(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let shared = Shared {
            socket: UnixDatagram::from_std(socket.into())?,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Hands replies to those who wait for them, until the spawner is gone.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn run(&self) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let received = self.shared.socket.async_io(Interest::READABLE, || {
                wire::receive::<Reply>(self.shared.socket.as_fd(), &mut buffer)
            });
            match received.await? {
                Some((reply, descriptors)) => self.deliver(reply, descriptors),
                None => {
                    self.lock().clear();
                    return Ok(());
                }
            }
        }
    }

    /// Lets the spawner keep a spec, under the number that is given back.
    ///
    /// # Errors
    /// `BrokenPipe` where the spawner is gone.
    pub async fn prepare(&self, spec: Spec) -> io::Result<u64> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.send(
            &Request::Prepare {
                id,
                spec: Box::new(spec),
            },
            None,
        )
        .await?;
        Ok(id)
    }

    /// Lets the spawner forget a spec.
    ///
    /// # Errors
    /// `BrokenPipe` where the spawner is gone.
    pub async fn forget(&self, spec: u64) -> io::Result<()> {
        self.send(&Request::Forget { id: spec }, None).await
    }

    /// Makes an instance. It returns when the instance's own program runs.
    ///
    /// # Errors
    /// The step that failed; of a failed attempt nothing is left.
    pub async fn launch(&self, launch: Launch, streams: Streams) -> Result<Child, Failure> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (launched, answer) = oneshot::channel();
        self.lock().insert(
            id,
            Waiting {
                launched: Some(launched),
                exited: None,
            },
        );
        let gone = || Failure {
            step: "ask the spawner".to_owned(),
            error: rustix::io::Errno::PIPE.raw_os_error(),
            template: false,
        };
        if self
            .send(&Request::Launch { id, launch }, Some(&streams))
            .await
            .is_err()
        {
            self.lock().remove(&id);
            return Err(gone());
        }
        drop(streams);
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn send(&self, request: &Request, streams: Option<&Streams>) -> io::Result<()> {
        let mut descriptors = Vec::new();
        if let Some(streams) = streams {
            descriptors.extend([
                streams.stdin.as_fd(),
                streams.stdout.as_fd(),
                streams.stderr.as_fd(),
            ]);
            descriptors.extend(streams.network.as_ref().map(AsFd::as_fd));
        }
        let send = || wire::send(self.shared.socket.as_fd(), request, &descriptors);
        self.shared.socket.async_io(Interest::WRITABLE, send).await
    }

    fn deliver(&self, reply: Reply, descriptors: Vec<OwnedFd>) {
        let mut waiting = self.lock();
        match reply {
            Reply::Launched { id, process } => {
                let Some(descriptor) = descriptors.into_iter().next() else {
                    return;
                };
                let Some(entry) = waiting.get_mut(&id) else { return };
                let (exited, ending) = oneshot::channel();
                entry.exited = Some(exited);
                let child = Child {
                    process,
                    descriptor,
                    exited: ending,
                };
                let unclaimed = entry.launched.take().map(|launched| launched.send(Ok(child)));
                if let Some(Err(Ok(child))) = unclaimed {
                    // Whoever asked has given up: nobody would ever end it.
                    let _ended =
                        rustix::process::pidfd_send_signal(&child.descriptor, rustix::process::Signal::KILL);
                }
            }
            Reply::Failed { id, failure } => {
                if let Some(launched) = waiting.remove(&id).and_then(|entry| entry.launched) {
                    let _given_up = launched.send(Err(failure));
                }
            }
            Reply::Exited { id, exited } => {
                if let Some(sender) = waiting.remove(&id).and_then(|entry| entry.exited) {
                    let _nobody_waits = sender.send(exited);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Waiting>> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
