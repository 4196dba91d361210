//! The birth of a child: its namespaces, its cgroups, and the gate between them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Signal;
use skep_sys::{Forked, NewNamespaces};

use crate::cgroup::Cgroups;
use crate::child;
use crate::server::{mounts_of, wait_for_end};
use crate::spec::Spec;
use crate::wire::{Ahead, Failure, Given, Launch, Own};

/// Makes the child and its cgroups: with version 2 it is born into them, with version 1 they are made while it sets
/// itself up, and the gate stands before the first step that needs them.
pub(crate) fn start(
    spec: &Spec,
    launch: &Launch,
    own: Option<&Own>,
    given: &Given,
    (cgroups, born): (&mut Cgroups, &mut Option<OwnedFd>),
) -> Result<(u32, OwnedFd, OwnedFd), Failure> {
    make(
        spec,
        (&launch.name, given.streams.network.is_none()),
        (cgroups, own.map(|_| born)),
        |gate, reporter| child::run(spec, launch, own, given, gate.as_fd(), reporter.as_fd()),
    )
}

/// The same for one that waits, once it is made, on its line.
pub(crate) fn start_ahead(
    spec: &Spec,
    ahead: &Ahead,
    (line, network): (OwnedFd, Option<OwnedFd>),
    (cgroups, born): (&mut Cgroups, &mut Option<OwnedFd>),
) -> Result<(u32, OwnedFd), Failure> {
    let own_network = network.is_none();
    let born = ahead.own.as_ref().map(|_| born);
    let made = make(spec, (&ahead.name, own_network), (cgroups, born), |gate, _| {
        child::run_ahead(spec, ahead, line, network, gate)
    });
    made.map(|(process, descriptor, _)| (process, descriptor))
}

fn make(
    spec: &Spec,
    (name, own_network): (&str, bool),
    (cgroups, born): (&mut Cgroups, Option<&mut Option<OwnedFd>>),
    child: impl FnOnce(OwnedFd, OwnedFd),
) -> Result<(u32, OwnedFd, OwnedFd), Failure> {
    let namespaces = NewNamespaces {
        mount: true,
        process: true,
        ipc: spec.ipc_namespace,
        uts: true,
        network: own_network,
        // Made by the child itself, once it is in its cgroups.
        cgroup: false,
    };
    let create = || Cgroups::create(&spec.cgroup, name).map_err(|(step, error)| machine(&step, error));
    if spec.cgroup.unified {
        *cgroups = create()?;
    }
    let birthplace = birthplace(cgroups)?;
    let enter = |process| {
        if !spec.cgroup.unified {
            *cgroups = create()?;
        }
        // Once the gate is open it may end before anybody asks.
        if let Some(born) = born {
            *born = mounts_of(process);
        }
        enter(cgroups, process)
    };
    fork_into(namespaces, birthplace.as_ref(), enter, child)
}

pub(crate) fn birthplace(cgroups: &Cgroups) -> Result<Option<File>, Failure> {
    let opened = cgroups.birthplace();
    opened.map_err(|error| machine("open the cgroup", error))
}

pub(crate) fn enter(cgroups: &Cgroups, process: u32) -> Result<(), Failure> {
    let entered = cgroups.enter(process);
    entered.map_err(|(step, error)| machine(&step, error))
}

/// Forks, does what is to be done before the gate, and lets the child go on; what becomes of it is said on the pipe.
pub(crate) fn fork_into(
    namespaces: NewNamespaces,
    birthplace: Option<&File>,
    before: impl FnOnce(u32) -> Result<(), Failure>,
    child: impl FnOnce(OwnedFd, OwnedFd),
) -> Result<(u32, OwnedFd, OwnedFd), Failure> {
    let (report, reporter) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| machine("make a pipe", error.into()))?;
    // A pipe, because it closes with this process: a child that nobody lets go on ends.
    let (gate, opener) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| machine("make a pipe", error.into()))?;
    let forked = skep_sys::fork(namespaces, birthplace.map(AsFd::as_fd));
    match forked.map_err(|error| machine("make a process", error))? {
        Forked::Child => {
            drop((opener, report));
            child(gate, reporter);
            skep_sys::exit_now(127)
        }
        Forked::Parent { process, descriptor } => {
            // What is read to its end below must have no other writer than the child.
            drop(reporter);
            let opened = before(process).and_then(|()| {
                let opened = rustix::io::write(&opener, &[1]);
                opened.map_err(|error| machine("open the gate", error.into()))
            });
            if let Err(failure) = opened {
                let _ended = rustix::process::pidfd_send_signal(&descriptor, Signal::KILL);
                let _code = wait_for_end(descriptor.as_fd());
                // One that had failed by itself said why, and that is the reason for the rest.
                return Err(child::read_report(report).err().unwrap_or(failure));
            }
            Ok((process, descriptor, report))
        }
    }
}

/// What this machine is at fault for.
pub(crate) fn machine(step: &str, error: io::Error) -> Failure {
    Failure {
        step: step.to_owned(),
        error: error
            .raw_os_error()
            .unwrap_or(rustix::io::Errno::INVAL.raw_os_error()),
        template: false,
    }
}
