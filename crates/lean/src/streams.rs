//! An instance's standard streams: pipes of the kernel, whose own bound is the backpressure.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use skep_docker::Lines;
use skep_engine::{OutputReceiver, Pipes, Stdio, output_channel};
use skep_model::{LogLine, LogStream};
use skep_spawner::Streams;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Skep's ends of the streams.
pub(crate) struct OurEnds {
    pub(crate) pipes: Option<Pipes>,
    pub(crate) output: OutputReceiver,
    /// The other end of a standard input that nobody writes to, and that stays open all the same (`-i`).
    pub(crate) input: Option<OwnedFd>,
}

/// Makes both ends. The log is read from now on, by tasks that end with the last writer.
pub(crate) fn make(
    stdio: Stdio,
    open_stdin: bool,
    network: Option<OwnedFd>,
    tasks: &TaskTracker,
) -> io::Result<(Streams, OurEnds)> {
    let (log, output) = output_channel();
    let (errors, stderr) = pipe()?;
    tasks.spawn(read_log(
        pipe::Receiver::from_owned_fd(errors)?,
        LogStream::Stderr,
        log.clone(),
    ));
    let (out, stdout) = pipe()?;
    let out = pipe::Receiver::from_owned_fd(out)?;
    let mut kept = None;
    let (stdin, pipes) = match stdio {
        Stdio::Log => {
            tasks.spawn(read_log(out, LogStream::Stdout, log));
            if open_stdin {
                let (stdin, input) = pipe()?;
                kept = Some(input);
                (stdin, None)
            } else {
                (File::open("/dev/null")?.into(), None)
            }
        }
        Stdio::Pipe => {
            let (stdin, input) = pipe()?;
            let stdin_writer = pipe::Sender::from_owned_fd(input)?;
            (
                stdin,
                Some(Pipes {
                    stdin: Box::new(stdin_writer),
                    stdout: Box::new(out),
                }),
            )
        }
    };
    Ok((
        Streams {
            stdin,
            stdout,
            stderr,
            network,
        },
        OurEnds {
            pipes,
            output,
            input: kept,
        },
    ))
}

/// The reading end and the writing end, blocking, closed by an exec. Skep's own end is made non-blocking by tokio;
/// the instance's stays blocking, as every program expects.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((read, write))
}

async fn read_log(mut from: pipe::Receiver, stream: LogStream, log: mpsc::Sender<LogLine>) {
    let mut lines = Lines::new(stream, false);
    let mut buffer = vec![0; 8 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => {
                for line in lines.push(&buffer[..length]) {
                    // Nobody keeps the log any more: it is still read, so that the instance never waits for that.
                    drop(log.send(line).await);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "an instance's log broke off");
                break;
            }
        }
    }
    if let Some(line) = lines.finish() {
        drop(log.send(line).await);
    }
}
