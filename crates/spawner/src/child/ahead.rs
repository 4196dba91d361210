//! An instance made up to its program's start before anybody asks for it.
//!
//! While it waits it has run nothing of the image's, nobody is beside it in its process namespace, and it holds no
//! descriptor but its line: not those of others who were made at the time, not their mount namespaces.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::DumpableBehavior;

use super::{Building, Step, build, enter_network, process, process_of, tie_to_spawner};
use crate::handover;
use crate::spec::{MountKind, Spec};
use crate::wire::{self, Ahead, Failure, Order, Said, Streams};

pub(super) fn run(spec: &Spec, ahead: &Ahead, line: OwnedFd, network: Option<OwnedFd>, gate: OwnedFd) -> ! {
    let Err(failure) = become_instance(spec, ahead, &line, network, gate);
    // Nobody may be there any more; its end is seen all the same.
    let _said = wire::send(line.as_fd(), &Said::Failed(failure), &[]);
    skep_sys::exit_now(127)
}

fn become_instance(
    spec: &Spec,
    ahead: &Ahead,
    line: &OwnedFd,
    network: Option<OwnedFd>,
    gate: OwnedFd,
) -> Result<Infallible, Failure> {
    tie_to_spawner()?;
    let kept = [Some(line), Some(&gate), network.as_ref()];
    let kept: Vec<_> = kept.into_iter().flatten().map(AsFd::as_fd).collect();
    skep_sys::close_all_but(&kept).step("close what is others'")?;
    // Its memory is still a copy of the spawner's.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step("hide its memory")?;
    enter_network(network.as_ref(), None)?;
    let building = Building {
        spec,
        name: &ahead.name,
        files: spec
            .mounts
            .iter()
            .filter_map(number_of_file)
            .max()
            .map_or(0, |most| most + 1),
        binds: &[],
        root: None,
    };
    let files = build(&building, gate.as_fd())?;
    drop((gate, network));
    let own = ahead.own.as_ref().map(|own| process_of(spec, own));
    let process = own.as_ref().unwrap_or(&spec.process);
    let identity = process::settle(process)?;
    let listener = ahead.listener.map(handover::listen).transpose();
    let listener = listener.step("open the listener for its calls")?;
    let given: Vec<_> = listener.iter().map(AsFd::as_fd).collect();
    wire::send(line.as_fd(), &Said::Ready, &given).step("say that it is ready")?;
    drop(listener);
    let Some((order, streams)) = ordered(line)? else {
        // It is not wanted any more.
        skep_sys::exit_now(0)
    };
    files.write(&order.files)?;
    rustix::system::sethostname(order.hostname.as_bytes()).step("set the host name")?;
    process::finish(process, &identity, &order.environment, &streams, None)
}

fn number_of_file(mount: &crate::spec::Mount) -> Option<usize> {
    match mount.kind {
        MountKind::File(number) => Some(number),
        _ => None,
    }
}

/// Waits for the order that comes with its streams; `None` when nobody is there any more who could give it.
fn ordered(line: &OwnedFd) -> Result<Option<(Order, Streams)>, Failure> {
    let step = "take the order";
    let Some((order, descriptors)) = wire::receive::<Order>(line.as_fd(), &mut Vec::new()).step(step)? else {
        return Ok(None);
    };
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(descriptors)
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::NotFound))
        .step(step)?;
    let streams = Streams {
        stdin,
        stdout,
        stderr,
        network: None,
    };
    Ok(Some((order, streams)))
}
