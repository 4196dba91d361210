//! The process that makes lean instances: this same program, started anew so that it has one thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use skep_lean::LeanEngine;
use skep_spawner::Spawner;
use tokio_util::sync::CancellationToken;

use super::supervisor::Supervisor;
use crate::exit::{Exit, Failed, Outcome};

/// How often it may end by itself within [`SPAN`]; more often, something is wrong that starting it anew does not mend.
const ENDS: usize = 5;
const SPAN: Duration = Duration::from_secs(60);
/// The program that runs here.
const OWN: &str = "/proc/self/exe";

/// Starts it.
pub(super) fn start(directory: &Path) -> io::Result<Spawner> {
    Spawner::connect(process(directory)?)
}

/// Starts the process, with one end of the line as its standard input; gives the other end. It ends when that closes,
/// however this process ends.
fn process(directory: &Path) -> io::Result<OwnedFd> {
    let (ours, theirs) = Spawner::pair()?;
    // An instance whose program is a script for `/proc/self/exe` becomes Skep's program, inside: it must not be able to
    // write it from there.
    let own = File::open(OWN)?;
    let view = skep_sys::read_only_view(&own)
        .inspect_err(|error| tracing::debug!(%error, "the spawner runs Skep's program from where it stands"));
    let path = match &view {
        Ok(view) => format!("/proc/self/fd/{}", view.as_raw_fd()),
        Err(_) => OWN.to_owned(),
    };
    let mut child = Command::new(path)
        .arg0("skep")
        .arg("spawner")
        .current_dir(directory)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    // Reaped when it ends; nobody else waits for it.
    std::thread::Builder::new()
        .name("skep-spawner-end".to_owned())
        .spawn(move || drop(child.wait()))?;
    Ok(ours)
}

/// Runs the lean engine's background, and the line to its spawner, which goes on until the engine has ended: what is
/// just being made when it is told to end is waited for.
pub(super) fn watch(
    supervisor: &mut Supervisor,
    spawner: Spawner,
    lean: LeanEngine,
    directory: PathBuf,
    stop: CancellationToken,
) {
    let over = CancellationToken::new();
    let (engine, ended) = (lean.clone(), over.clone().drop_guard());
    supervisor.watch("lean engine's background", async move {
        engine.run_background(stop).await;
        drop(ended);
    });
    supervisor.watch("line to the spawner", run(spawner, lean, directory, over));
}

/// Hands its replies on. Should it end, its instances end with it, and another one takes its place.
async fn run(spawner: Spawner, lean: LeanEngine, directory: PathBuf, stop: CancellationToken) {
    let mut ends = VecDeque::new();
    loop {
        let ended = tokio::select! {
            ended = spawner.run() => ended,
            () = stop.cancelled() => return,
        };
        match ended {
            Ok(()) => {
                tracing::error!("the spawner ended, and with it every lean instance; it is started anew")
            }
            Err(error) => tracing::error!(%error, "the line to the spawner broke; it is started anew"),
        }
        ends.retain(|end: &Instant| end.elapsed() < SPAN);
        ends.push_back(Instant::now());
        if ends.len() > ENDS {
            return;
        }
        lean.end_instances().await;
        let started = process(&directory);
        let connected = match started {
            Ok(socket) => spawner.reconnect(socket).await,
            Err(error) => Err(error),
        };
        if let Err(error) = connected {
            tracing::error!(%error, "the spawner can't be started anew");
            return;
        }
    }
}

/// The other process.
pub(crate) fn serve() -> Outcome {
    // Out of the terminal's process group: a Ctrl-C there begins a drain, during which instances are still made.
    let failed = |error: io::Error| Failed::from_error(Exit::Failure, &error);
    rustix::process::setsid().map_err(|error| failed(error.into()))?;
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let null = std::fs::File::open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(|error| failed(error.into()))?;
    rustix::thread::set_name(c"skep-spawner").map_err(|error| failed(error.into()))?;
    skep_spawner::serve(socket).map_err(failed)?;
    Ok(Exit::Success)
}
