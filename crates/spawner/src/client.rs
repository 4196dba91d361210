//! The served process's side: starting the spawner, and asking it for instances.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{oneshot, watch};

use crate::handover;
use crate::spec::Spec;
use crate::wire::{self, Exited, Failure, Joining, Launch, Own, Reply, Request, Streams};

/// How long somebody who asks waits for a spawner that is just being started.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running spawner, as the rest of Skep sees it.
#[derive(Debug, Clone)]
pub struct Spawner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The line, while there is a spawner at its other end.
    line: watch::Sender<Option<Arc<UnixDatagram>>>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// What the spawner keeps, so that another one can be told.
    specs: Mutex<HashMap<u64, Arc<Spec>>>,
}

#[derive(Debug)]
struct Waiting {
    launched: Option<oneshot::Sender<Result<Child, Failure>>>,
    exited: Option<oneshot::Sender<Exited>>,
}

/// A started instance's first process.
#[derive(Debug)]
pub struct Child {
    /// The launch's own number, by which others may join it.
    pub id: u64,
    /// Its id, as this process sees it.
    pub process: u32,
    /// Its pidfd.
    pub descriptor: OwnedFd,
    /// Its mount namespace, where it was launched with something of its own.
    pub mounts: Option<OwnedFd>,
    /// The listener inside its network, where one was asked for; it does not block.
    pub listener: Option<OwnedFd>,
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
        let shared = Shared {
            line: watch::Sender::new(Some(line(socket)?)),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            specs: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Talks to another spawner, after the one before has ended: it is told all that the other knew. What was asked of
    /// that one is answered with a failure, and its instances are taken for ended.
    ///
    /// # Errors
    /// What the kernel answers.
    pub async fn reconnect(&self, socket: OwnedFd) -> io::Result<()> {
        self.lock().clear();
        let line = line(socket)?;
        let known: Vec<(u64, Arc<Spec>)> = {
            let specs = self.specs();
            specs.iter().map(|(id, spec)| (*id, spec.clone())).collect()
        };
        for (id, spec) in known {
            send_on(&line, &Request::Prepare { id, spec }, &[]).await?;
        }
        self.shared.line.send_replace(Some(line));
        Ok(())
    }

    /// Hands replies to those who wait for them, until the spawner is gone. Whoever asks from then on waits for
    /// [`Spawner::reconnect`].
    ///
    /// # Errors
    /// What the socket says.
    pub async fn run(&self) -> io::Result<()> {
        let Some(line) = self.shared.line.borrow().clone() else {
            return Ok(());
        };
        let ended = self.hand_on(&line).await;
        self.shared.line.send_replace(None);
        ended
    }

    async fn hand_on(&self, line: &UnixDatagram) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let receive = || wire::receive::<Reply>(line.as_fd(), &mut buffer);
            match line.async_io(Interest::READABLE, receive).await? {
                Some((reply, descriptors)) => self.deliver(reply, descriptors),
                None => return Ok(()),
            }
        }
    }

    /// Lets the spawner keep a spec, under the number that is given back.
    ///
    /// # Errors
    /// `BrokenPipe` where the spawner is gone.
    pub async fn prepare(&self, spec: Spec) -> io::Result<u64> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let spec = Arc::new(spec);
        self.specs().insert(id, spec.clone());
        let sent = self.send(&Request::Prepare { id, spec }).await;
        // One that broke meanwhile: the next spawner is told.
        match sent {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.specs().remove(&id);
                Err(error)
            }
            _ => Ok(id),
        }
    }

    /// Lets the spawner forget a spec.
    ///
    /// # Errors
    /// `BrokenPipe` where the spawner is gone.
    pub async fn forget(&self, spec: u64) -> io::Result<()> {
        self.specs().remove(&spec);
        self.send(&Request::Forget { id: spec }).await
    }

    /// Makes an instance. It returns when the instance's own program runs.
    ///
    /// # Errors
    /// The step that failed; of a failed attempt nothing is left.
    pub async fn launch(&self, launch: Launch, streams: Streams) -> Result<Child, Failure> {
        let handover = launch.listener.map(|_| handover::pair()).transpose();
        let (taken, given) = handover.map_err(unasked)?.unzip();
        let request = |id| Request::Launch {
            id,
            launch,
            own: None,
        };
        let mut child = self.start(request, Descriptors::of(streams, given)).await?;
        child.listener = taken.and_then(handover::take);
        Ok(child)
    }

    /// The same with something of its own, and where `own` says so on the root of an earlier launch.
    ///
    /// # Errors
    /// As [`Spawner::launch`].
    pub async fn launch_own(
        &self,
        launch: Launch,
        own: Own,
        streams: Streams,
        root: Option<OwnedFd>,
    ) -> Result<Child, Failure> {
        let own = Own {
            resumes: root.is_some(),
            ..own
        };
        let launch = Launch {
            listener: None,
            ..launch
        };
        let request = |id| Request::Launch {
            id,
            launch,
            own: Some(own),
        };
        self.start(request, Descriptors::of(streams, root)).await
    }

    /// Makes one more process in an instance.
    ///
    /// # Errors
    /// As [`Spawner::launch`]; `ESRCH` where the instance has ended.
    pub async fn join(&self, joining: Joining, streams: Streams) -> Result<Child, Failure> {
        let descriptors = Descriptors::of(streams, None);
        self.start(|id| Request::Join { id, joining }, descriptors).await
    }

    /// Sends an order with its descriptors, and waits for what becomes of it.
    pub(crate) async fn start(
        &self,
        request: impl FnOnce(u64) -> Request,
        descriptors: Descriptors,
    ) -> Result<Child, Failure> {
        let gone = || unasked(rustix::io::Errno::PIPE);
        // The line first: whoever waits by then is told when it breaks.
        let line = self.line().await.map_err(|_| gone())?;
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (launched, answer) = oneshot::channel();
        self.lock().insert(
            id,
            Waiting {
                launched: Some(launched),
                exited: None,
            },
        );
        let sent = send_on(&line, &request(id), &descriptors.each()).await;
        if sent.is_err() {
            self.lock().remove(&id);
            return Err(gone());
        }
        drop(descriptors);
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn send(&self, request: &Request) -> io::Result<()> {
        send_on(self.line().await?.as_ref(), request, &[]).await
    }

    /// The line to the spawner, also to one that is just being started.
    async fn line(&self) -> io::Result<Arc<UnixDatagram>> {
        let current = self.shared.line.borrow().clone();
        if let Some(line) = current {
            return Ok(line);
        }
        let mut lines = self.shared.line.subscribe();
        let found = tokio::time::timeout(PATIENCE, lines.wait_for(Option::is_some)).await;
        let line = found.ok().and_then(Result::ok).and_then(|line| line.clone());
        line.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn deliver(&self, reply: Reply, descriptors: Vec<OwnedFd>) {
        let mut waiting = self.lock();
        match reply {
            Reply::Launched { id, process } => {
                let mut descriptors = descriptors.into_iter();
                let Some(descriptor) = descriptors.next() else {
                    return;
                };
                let Some(entry) = waiting.get_mut(&id) else {
                    end(&descriptor);
                    return;
                };
                let (exited, ending) = oneshot::channel();
                entry.exited = Some(exited);
                let child = Child {
                    id,
                    process,
                    descriptor,
                    mounts: descriptors.next(),
                    listener: None,
                    exited: ending,
                };
                let unclaimed = entry.launched.take().map(|launched| launched.send(Ok(child)));
                if let Some(Err(Ok(child))) = unclaimed {
                    // Whoever asked has given up: nobody would ever end it.
                    end(&child.descriptor);
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

    fn specs(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Spec>>> {
        self.shared.specs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Waiting>> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What could not even be asked.
pub(crate) fn unasked(error: rustix::io::Errno) -> Failure {
    Failure {
        step: "ask the spawner".to_owned(),
        error: error.raw_os_error(),
        template: false,
    }
}

/// A socket of whole messages in order; to the runtime it is like one of datagrams.
pub(crate) fn line(socket: OwnedFd) -> io::Result<Arc<UnixDatagram>> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    UnixDatagram::from_std(socket.into()).map(Arc::new)
}

/// What goes with an order, in the order in which it is taken out there.
pub(crate) struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    fn of(streams: Streams, other: Option<OwnedFd>) -> Self {
        let standard = [streams.stdin, streams.stdout, streams.stderr];
        Self(standard.into_iter().chain(other).chain(streams.network).collect())
    }

    /// A line, and a network.
    pub(crate) fn ahead(line: OwnedFd, network: Option<OwnedFd>) -> Self {
        Self([line].into_iter().chain(network).collect())
    }

    fn each(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd).collect()
    }
}

pub(crate) async fn send_on(
    line: &UnixDatagram,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let send = || wire::send(line.as_fd(), message, descriptors);
    line.async_io(Interest::WRITABLE, send).await
}

/// Kills a process that nobody waits for.
pub(crate) fn end(process: &OwnedFd) {
    let _ended = rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL);
}
