//! The child between its birth and its exec: it turns itself into the instance, step by step, and says which step
//! failed if one does.
//!
//! The order matters. Everything that reads the host's file system happens before the root is changed; everything
//! that needs a right happens before that right is given up; the seccomp program comes last of what it might refuse.

mod ahead;
mod devices;
mod identity;
mod joining;
mod mounts;
mod process;
mod propagation;
mod rooted;
mod terminal;

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::LinkNameSpaceType;

use crate::handover;
use crate::spec::{Process, Spec};
use crate::wire::{Ahead, Failure, Given, Joining, Launch, Own, Streams};

/// Becomes the instance. It never returns: either the process runs its own program, or it said why not and ended.
pub(crate) fn run(
    spec: &Spec,
    launch: &Launch,
    own: Option<&Own>,
    given: &Given,
    gate: BorrowedFd<'_>,
    reporter: BorrowedFd<'_>,
) -> ! {
    let Err(failure) = become_instance(spec, launch, own, given, gate);
    say(&failure, reporter);
    skep_sys::exit_now(127)
}

/// Becomes an instance up to its program's start, and waits on the line for the rest. It never returns.
pub(crate) fn run_ahead(
    spec: &Spec,
    ahead: &Ahead,
    line: OwnedFd,
    network: Option<OwnedFd>,
    gate: OwnedFd,
) -> ! {
    ahead::run(spec, ahead, line, network, gate)
}

/// Becomes one more process of an instance. It never returns.
pub(crate) fn join(
    spec: &Spec,
    joining: &Joining,
    streams: &Streams,
    instance: BorrowedFd<'_>,
    (gate, reporter): (OwnedFd, OwnedFd),
) -> ! {
    joining::run(spec, joining, streams, instance, gate.as_fd(), reporter)
}

fn say(failure: &Failure, reporter: BorrowedFd<'_>) {
    // With no way to say what went wrong, the closed pipe would mean success: the exit code is then all there is.
    if let (Ok(text), Ok(reporter)) = (serde_json::to_vec(failure), reporter.try_clone_to_owned()) {
        let _said = File::from(reporter).write_all(&text);
    }
}

/// What a child said of its set-up; nothing at all is success.
pub(crate) fn read_report(report: OwnedFd) -> Result<(), Failure> {
    let mut text = Vec::new();
    let broken = |error: io::Error| Failure {
        step: "read the child's report".to_owned(),
        error: error
            .raw_os_error()
            .unwrap_or_else(|| rustix::io::Errno::IO.raw_os_error()),
        template: false,
    };
    File::from(report).read_to_end(&mut text).map_err(broken)?;
    if text.is_empty() {
        return Ok(());
    }
    Err(serde_json::from_slice(&text).unwrap_or_else(|error| broken(error.into())))
}

/// Should the spawner be killed now: until it is in its cgroups, nobody else would find this process.
fn tie_to_spawner() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .step("tie its life to the spawner's")
}

/// Waits until this process is in its cgroups.
fn pass(gate: BorrowedFd<'_>) -> Result<(), Failure> {
    let opened = rustix::io::retry_on_intr(|| rustix::io::read(gate, &mut [0_u8; 1]));
    if opened.step("wait for the gate")? == 0 {
        return Err(failure(
            io::ErrorKind::BrokenPipe.into(),
            "wait for the gate".to_owned(),
            false,
        ));
    }
    Ok(())
}

fn become_instance(
    spec: &Spec,
    launch: &Launch,
    own: Option<&Own>,
    given: &Given,
    gate: BorrowedFd<'_>,
) -> Result<Infallible, Failure> {
    tie_to_spawner()?;
    let listener = launch.listener.zip(given.listener.as_ref());
    enter_network(given.streams.network.as_ref(), listener)?;
    let plan = Building {
        spec,
        name: &launch.name,
        files: launch.files.len(),
        binds: &launch.binds,
        root: given.root.as_ref(),
    };
    build(&plan, gate)?.write(&launch.files)?;
    rustix::system::sethostname(launch.hostname.as_bytes()).step("set the host name")?;
    match own {
        // Only its root was wanted, which whoever holds its mount namespace has.
        Some(own) if own.arguments.is_empty() => skep_sys::exit_now(0),
        Some(own) => {
            let process = process_of(spec, own);
            let terminal = own.terminal.map(|size| (size, true));
            process::execute(&process, &[], &given.streams, terminal)
        }
        None => process::execute(&spec.process, &launch.environment, &given.streams, None),
    }
}

/// The process of a launch with something of its own.
fn process_of(spec: &Spec, own: &Own) -> Process {
    Process {
        arguments: own.arguments.clone(),
        environment: own.environment.clone(),
        ..spec.process.clone()
    }
}

/// What an instance's root is put together from.
struct Building<'a> {
    spec: &'a Spec,
    /// The instance's name.
    name: &'a str,
    /// How many files it has of its own.
    files: usize,
    /// What it alone is shown.
    binds: &'a [(String, String)],
    /// The mount namespace of an earlier launch, with whose root it goes on.
    root: Option<&'a OwnedFd>,
}

/// Puts the root together and enters it; gives the files that are still to be written.
fn build(building: &Building<'_>, gate: BorrowedFd<'_>) -> Result<mounts::Files, Failure> {
    let Building { spec, name, .. } = building;
    let followed = propagation::Followed::take(spec)?;
    let (root, files) = match building.root {
        Some(earlier) => mounts::take_root(&spec.root, building.files, earlier.as_fd())?,
        None => mounts::make_root(&spec.root, building.files)?,
    };
    // So far its cgroups may still be in the making.
    pass(gate)?;
    // Only now: what is born into a cgroup of version 2 would take its parent's for the root of a namespace made
    // at its birth.
    if spec.cgroup_namespace {
        skep_sys::unshare_cgroup_namespace().step("make a cgroup namespace")?;
    }
    for (name, value) in &spec.sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::write(&path, value).template(|| format!("set the sysctl {name}={value}"))?;
    }
    join_keyring(name)?;
    mounts::mount_all(&root, spec, name, &followed)?;
    drop(followed);
    mounts::bind_all(&root, building.binds)?;
    devices::make(&root, spec)?;
    mounts::cover(&root, spec)?;
    mounts::make_directory(&root, &spec.process.directory)?;
    mounts::enter(root, spec.root.read_only)?;
    Ok(files)
}

/// Enters a network, or makes the loopback of a new one work; `listener` is its port there and where it is given.
fn enter_network(network: Option<&OwnedFd>, listener: Option<(u16, &OwnedFd)>) -> Result<(), Failure> {
    match network {
        Some(network) => {
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(network.as_fd(), kind)
                .step("enter the network namespace")?;
        }
        None => {
            skep_sys::raise_loopback().step("raise the loopback device")?;
            if let Some((port, to)) = listener {
                handover::give(to, port).step("open the listener for its calls")?;
            }
        }
    }
    Ok(())
}

fn join_keyring(name: &str) -> Result<(), Failure> {
    let name = std::ffi::CString::new(format!("_ses.{name}")).step("name the session keyring")?;
    match skep_sys::join_new_session_keyring(&name) {
        // A kernel without keyrings has no key to hide.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => Ok(()),
        other => other.step("join a new session keyring"),
    }
}

/// Names the step that an error belongs to.
trait Step<T> {
    /// The machine is at fault, or Skep.
    fn step(self, step: &str) -> Result<T, Failure>;

    /// The template is at fault; the step is made only when it is needed.
    fn template(self, step: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &str) -> Result<T, Failure> {
        self.map_err(|error| failure(error.into(), step.to_owned(), false))
    }

    fn template(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| failure(error.into(), step(), true))
    }
}

fn failure(error: io::Error, step: String, template: bool) -> Failure {
    let number = error
        .raw_os_error()
        .unwrap_or_else(|| rustix::io::Errno::INVAL.raw_os_error());
    Failure {
        step,
        error: number,
        template,
    }
}
