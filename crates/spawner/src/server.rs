//! The spawner's side: one thread, one loop over the requests and the children's ends.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};
use skep_sys::NewNamespaces;

use crate::cgroup::Cgroups;
use crate::child;
use crate::spec::Spec;
use crate::start::{birthplace, enter, fork_into, machine, start, start_ahead};
use crate::wire::{self, Ahead, Exited, Failure, Given, Joining, Launch, Own, Reply, Request, Streams};

/// How soon the removal of a cgroup that was still busy is tried again.
const RETRY: Duration = Duration::from_millis(2);
/// The same where one is waited for to make another of its name, and how often.
const SOON: Duration = Duration::from_micros(200);
const SOON_TRIES: usize = 500;

/// Serves requests until the other side is gone; then kills every child, removes what they had and returns.
///
/// # Errors
/// What the socket or the kernel says where going on makes no sense.
pub fn serve(socket: OwnedFd) -> io::Result<()> {
    let mut server = Server {
        socket,
        specs: HashMap::new(),
        children: Vec::new(),
        leaving: Vec::new(),
        buffer: Vec::new(),
    };
    let ended = loop {
        match server.turn() {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            // Nobody takes the replies any more: it ended as well, in the middle of a word.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // Whatever happened, nobody else would ever end the children.
    server.end();
    ended
}

struct Server {
    socket: OwnedFd,
    specs: HashMap<u64, Arc<Spec>>,
    children: Vec<Running>,
    /// Cgroups of ended children that the kernel has not let go of yet.
    leaving: Vec<Cgroups>,
    buffer: Vec<u8>,
}

struct Running {
    id: u64,
    process: u32,
    descriptor: OwnedFd,
    cgroups: Cgroups,
    /// While it is being set up: the pipe on which it says what failed, and which its exec closes.
    report: Option<OwnedFd>,
    /// Its mount namespace, until it is handed over.
    mounts: Option<OwnedFd>,
    /// What others who join it are made by, where they may.
    spec: Option<Arc<Spec>>,
}

/// What a look at the descriptors found.
#[derive(Default)]
struct Ready {
    asked: bool,
    /// Children, by their place, whose set-up came to its end.
    set_up: Vec<usize>,
    /// Children, by their place, that ended.
    ended: Vec<usize>,
}

impl Server {
    /// Waits for something to do and does it; false when the other side is gone.
    fn turn(&mut self) -> io::Result<bool> {
        let ready = self.wait()?;
        for index in ready.set_up {
            self.finish_set_up(index)?;
        }
        for index in ready.ended.into_iter().rev() {
            self.reap(index)?;
        }
        self.leaving.retain_mut(|cgroups| !cgroups.remove());
        if !ready.asked {
            return Ok(true);
        }
        match wire::receive(self.socket.as_fd(), &mut self.buffer)? {
            None => Ok(false),
            Some((request, descriptors)) => self.handle(request, descriptors).map(|()| true),
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut watched = vec![PollFd::new(&self.socket, PollFlags::IN)];
        for child in &self.children {
            // One of the two at a time: a child that fails in its set-up is reaped after it said why.
            let descriptor = child.report.as_ref().unwrap_or(&child.descriptor);
            watched.push(PollFd::new(descriptor, PollFlags::IN));
        }
        let retry = Timespec::try_from(RETRY).map_err(io::Error::other)?;
        let timeout = if self.leaving.is_empty() {
            None
        } else {
            Some(&retry)
        };
        rustix::io::retry_on_intr(|| poll(&mut watched, timeout))?;
        let mut ready = Ready {
            asked: !watched[0].revents().is_empty(),
            ..Ready::default()
        };
        for (index, (entry, child)) in watched[1..].iter().zip(&self.children).enumerate() {
            if !entry.revents().is_empty() {
                let list = if child.report.is_some() {
                    &mut ready.set_up
                } else {
                    &mut ready.ended
                };
                list.push(index);
            }
        }
        Ok(ready)
    }

    /// Takes in what a child says of its set-up: nothing, when it runs its own program.
    fn finish_set_up(&mut self, index: usize) -> io::Result<()> {
        let child = &mut self.children[index];
        let Some(report) = child.report.take() else {
            return Ok(());
        };
        match child::read_report(report) {
            Ok(()) => hand_over(self.socket.as_fd(), child),
            Err(failure) => wire::send(
                self.socket.as_fd(),
                &Reply::Failed {
                    id: child.id,
                    failure,
                },
                &[],
            ),
        }
    }

    fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        match request {
            Request::Prepare { id, spec } => {
                self.specs.insert(id, spec);
                Ok(())
            }
            Request::Forget { id } => {
                self.specs.remove(&id);
                Ok(())
            }
            Request::Launch { id, launch, own } => {
                let launched = self.launch(&launch, own.as_ref(), descriptors);
                self.started(id, launched)
            }
            Request::Ahead { id, ahead } => match self.make_ahead(&ahead, descriptors) {
                Ok(made) => self.standing(id, made),
                Err(failure) => wire::send(self.socket.as_fd(), &Reply::Failed { id, failure }, &[]),
            },
            Request::Join { id, joining } => {
                let joined = self.join(&joining, descriptors);
                self.started(id, joined)
            }
        }
    }

    fn started(&mut self, id: u64, started: Result<Running, Failure>) -> io::Result<()> {
        match started {
            Ok(started) => {
                self.children.push(Running { id, ..started });
                Ok(())
            }
            Err(failure) => wire::send(self.socket.as_fd(), &Reply::Failed { id, failure }, &[]),
        }
    }

    /// Hands one over that says by itself how far it is.
    fn standing(&mut self, id: u64, mut made: Running) -> io::Result<()> {
        made.id = id;
        let sent = hand_over(self.socket.as_fd(), &mut made);
        self.children.push(made);
        sent
    }

    /// Waits a little for the cgroups of an earlier run of this name, which the kernel is about to let go of.
    fn await_removal(&mut self, name: &str) {
        for _ in 0..SOON_TRIES {
            if !self.leaving.iter().any(|cgroups| cgroups.are_of(name)) {
                return;
            }
            self.leaving.retain_mut(|cgroups| !cgroups.remove());
            std::thread::sleep(SOON);
        }
    }

    fn make_ahead(&mut self, ahead: &Ahead, descriptors: Vec<OwnedFd>) -> Result<Running, Failure> {
        self.await_removal(&ahead.name);
        let missing = |what| machine(what, io::ErrorKind::NotFound.into());
        let spec = self.specs.get(&ahead.spec);
        let spec = spec.ok_or_else(|| missing("find the prepared spec"))?;
        let mut descriptors = descriptors.into_iter();
        let line = descriptors.next().ok_or_else(|| missing("take the line"))?;
        let (mut cgroups, mut born) = (Cgroups::none(), None);
        let with = (line, descriptors.next());
        match start_ahead(spec, ahead, with, (&mut cgroups, &mut born)) {
            Ok((process, descriptor)) => Ok(Running {
                id: 0,
                process,
                descriptor,
                cgroups,
                report: None,
                mounts: born,
                spec: ahead.own.as_ref().map(|_| spec.clone()),
            }),
            Err(failure) => {
                self.clear(cgroups);
                Err(failure)
            }
        }
    }

    /// Removes cgroups, now or as soon as the kernel lets go of them.
    fn clear(&mut self, mut cgroups: Cgroups) {
        if !cgroups.remove() {
            self.leaving.push(cgroups);
        }
    }

    fn launch(
        &mut self,
        launch: &Launch,
        own: Option<&Own>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Running, Failure> {
        self.await_removal(&launch.name);
        let missing = |what| machine(what, io::ErrorKind::NotFound.into());
        let spec = self
            .specs
            .get(&launch.spec)
            .ok_or_else(|| missing("find the prepared spec"))?;
        let resumes = own.is_some_and(|own| own.resumes);
        let given = given(launch.listener.is_some(), resumes, descriptors)
            .ok_or_else(|| missing("take the standard streams"))?;
        let (mut cgroups, mut born) = (Cgroups::none(), None);
        match start(spec, launch, own, &given, (&mut cgroups, &mut born)) {
            Ok((process, descriptor, report)) => Ok(Running {
                id: 0,
                process,
                // Asked for again: while it goes on with an earlier root it is in that one's for a moment.
                mounts: own.and_then(|_| mounts_of(process).or(born)),
                descriptor,
                cgroups,
                report: Some(report),
                spec: own.map(|_| spec.clone()),
            }),
            Err(failure) => {
                self.clear(cgroups);
                Err(failure)
            }
        }
    }

    fn join(&self, joining: &Joining, descriptors: Vec<OwnedFd>) -> Result<Running, Failure> {
        let gone = || machine("find the instance", rustix::io::Errno::SRCH.into());
        let given = given(false, false, descriptors).ok_or_else(gone)?;
        let mut children = self.children.iter();
        let instance = children.find(|child| child.id == joining.instance && child.report.is_none());
        let instance = instance.ok_or_else(gone)?;
        let spec = instance.spec.as_ref().ok_or_else(gone)?;
        let cgroups = &instance.cgroups;
        let joined = fork_into(
            NewNamespaces::default(),
            birthplace(cgroups)?.as_ref(),
            |process| enter(cgroups, process),
            |gate, reporter| {
                let target = instance.descriptor.as_fd();
                child::join(spec, joining, &given.streams, target, (gate, reporter))
            },
        );
        let (process, descriptor, report) = joined?;
        Ok(Running {
            id: 0,
            process,
            descriptor,
            cgroups: Cgroups::none(),
            report: Some(report),
            mounts: None,
            spec: None,
        })
    }

    /// Takes the end of a child in, and says so.
    fn reap(&mut self, index: usize) -> io::Result<()> {
        let Running {
            id,
            descriptor,
            cgroups,
            ..
        } = self.children.swap_remove(index);
        let code = wait_for_end(descriptor.as_fd())?;
        let exited = Exited {
            code,
            out_of_memory: cgroups.out_of_memory(),
        };
        // Said first: whoever waits for it need not wait for the kernel to clear up.
        let said = wire::send(self.socket.as_fd(), &Reply::Exited { id, exited }, &[]);
        self.clear(cgroups);
        said
    }

    /// Kills every child and removes what they had, as far as the kernel lets go of it within a second.
    fn end(&mut self) {
        for child in &self.children {
            // A child that just ended by itself can't be killed, and need not be.
            let _ended = rustix::process::pidfd_send_signal(&child.descriptor, Signal::KILL);
            child.cgroups.thaw();
        }
        for child in std::mem::take(&mut self.children) {
            let _code = wait_for_end(child.descriptor.as_fd());
            self.leaving.push(child.cgroups);
        }
        for _ in 0..500 {
            self.leaving.retain_mut(|cgroups| !cgroups.remove());
            if self.leaving.is_empty() {
                return;
            }
            std::thread::sleep(RETRY);
        }
    }
}

/// Hands a process over: its descriptor, and its mount namespace where that goes with it.
fn hand_over(socket: BorrowedFd<'_>, child: &mut Running) -> io::Result<()> {
    let reply = Reply::Launched {
        id: child.id,
        process: child.process,
    };
    let mounts = child.mounts.take();
    let mut descriptors = vec![child.descriptor.as_fd()];
    descriptors.extend(mounts.as_ref().map(AsFd::as_fd));
    wire::send(socket, &reply, &descriptors)
}

/// What came with an order, by what it was said to come with.
fn given(listens: bool, resumes: bool, descriptors: Vec<OwnedFd>) -> Option<Given> {
    let mut descriptors = descriptors.into_iter();
    let (stdin, stdout, stderr) = (descriptors.next()?, descriptors.next()?, descriptors.next()?);
    let listener = if listens { Some(descriptors.next()?) } else { None };
    let root = if resumes { Some(descriptors.next()?) } else { None };
    Some(Given {
        streams: Streams {
            stdin,
            stdout,
            stderr,
            network: descriptors.next(),
        },
        listener,
        root,
    })
}

/// The mount namespace of a process that was just made; none where it has ended.
pub(crate) fn mounts_of(process: u32) -> Option<OwnedFd> {
    let file = File::open(format!("/proc/{process}/ns/mnt")).ok()?;
    Some(file.into())
}

/// Reaps a child; gives its exit code as Docker counts.
pub(crate) fn wait_for_end(descriptor: BorrowedFd<'_>) -> io::Result<i32> {
    let status: Option<WaitIdStatus> = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(descriptor), WaitIdOptions::EXITED)
    })?;
    let status = status.ok_or_else(|| io::Error::other("waitid gave no status"))?;
    Ok(status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(255))
}
