//! The process that makes lean instances: this same program, started anew so that it has one thread.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use skep_spawner::Spawner;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failed, Outcome};

/// Starts it, with one end of the line as its standard input. It ends when the other end closes, however this process
/// ends.
pub(super) fn start(directory: &Path) -> io::Result<Spawner> {
    let (ours, theirs) = Spawner::pair()?;
    let mut child = Command::new("/proc/self/exe")
        .arg("spawner")
        .current_dir(directory)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    // Reaped when it ends; nobody else waits for it.
    std::thread::Builder::new()
        .name("skep-spawner-end".to_owned())
        .spawn(move || drop(child.wait()))?;
    Spawner::connect(ours)
}

/// Hands its replies on, until it is gone.
pub(super) async fn run(spawner: Spawner, stop: CancellationToken) {
    tokio::select! {
        ended = spawner.run() => {
            if let Err(error) = ended {
                tracing::error!(%error, "the line to the spawner broke");
            }
        }
        () = stop.cancelled() => {}
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
    skep_spawner::serve(socket).map_err(failed)?;
    Ok(Exit::Success)
}
