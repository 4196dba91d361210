//! One more process in an instance that runs.
//!
//! A process enters another's process namespace only by a child of its own, so there are two: the first stays outside,
//! in the instance's cgroups, waits for the second and ends as it did.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::DumpableBehavior;
use rustix::thread::ThreadNameSpaceType;
use skep_sys::{Forked, NewNamespaces};

use super::{Step, pass, process, say, tie_to_spawner};
use crate::server::wait_for_end;
use crate::spec::{Process, Spec};
use crate::wire::{Failure, Joining, Streams};

pub(super) fn run(
    spec: &Spec,
    joining: &Joining,
    streams: &Streams,
    instance: BorrowedFd<'_>,
    gate: BorrowedFd<'_>,
    reporter: OwnedFd,
) -> ! {
    let forked = tie_to_spawner().and_then(|()| pass(gate)).and_then(|()| {
        let own = ThreadNameSpaceType::PROCESS_ID;
        rustix::thread::move_into_thread_name_spaces(instance, own).step("enter the process namespace")?;
        skep_sys::fork(NewNamespaces::default(), None).step("make a process")
    });
    match forked {
        Ok(Forked::Child) => {
            let Err(failure) = become_process(spec, joining, streams, instance);
            say(&failure, reporter.as_fd());
            skep_sys::exit_now(127)
        }
        Ok(Forked::Parent { descriptor, .. }) => {
            // What it says of its exec is the other's alone to say.
            drop(reporter);
            skep_sys::exit_now(wait_for_end(descriptor.as_fd()).unwrap_or(255))
        }
        Err(failure) => {
            say(&failure, reporter.as_fd());
            skep_sys::exit_now(127)
        }
    }
}

fn become_process(
    spec: &Spec,
    joining: &Joining,
    streams: &Streams,
    instance: BorrowedFd<'_>,
) -> Result<Infallible, Failure> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .step("tie its life to who waits for it")?;
    // Until its exec it holds what is the spawner's: nobody in there may look at it through /proc, or trace it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step("hide it from those inside")?;
    let rest = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    rustix::thread::move_into_thread_name_spaces(instance, rest).step("enter the namespaces")?;
    let process = Process {
        arguments: joining.arguments.clone(),
        environment: joining.environment.clone(),
        directory: joining.directory.clone(),
        identity: joining.identity.clone(),
        ..spec.process.clone()
    };
    process::execute(&process, &[], streams, joining.terminal.map(|size| (size, false)))
}
