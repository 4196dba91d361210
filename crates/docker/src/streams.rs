//! An instance's standard streams over one attached connection.
//!
//! Docker interleaves standard output and error on it, each piece with a header of 8 bytes (the Engine API's
//! "attach" page). One task takes it apart. Nothing is kept beyond one piece: where standard output has no reader
//! the task waits, the engine waits, and at last the process waits in its write. The log is always being read, so a
//! flood on it only ever waits for whoever keeps it.

use std::io;

use skep_engine::{OutputReceiver, Pipes, output_channel};
use skep_model::{LogLine, LogStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::lines::Lines;
use crate::raw::Attached;

/// How much of a pipe may wait in Skep, as much as in a pipe of the kernel's.
const PIPE: usize = 64 * 1024;
const STDERR: u8 = 2;

/// Where standard output goes.
enum Output {
    Pipe(DuplexStream),
    Log(Lines),
    /// Its reader is gone; the process goes on writing into nothing.
    Nowhere,
}

/// Standard input and output as pipes, standard error as the log.
pub(crate) fn pipes(attached: Attached, tasks: &TaskTracker) -> (Pipes, OutputReceiver) {
    let (read, write) = tokio::io::split(attached);
    let (stdin, body) = tokio::io::duplex(PIPE);
    let (stdout, response) = tokio::io::duplex(PIPE);
    let (log, receiver) = output_channel();
    tasks.spawn(feed(body, write));
    tasks.spawn(take_apart(read, Output::Pipe(stdout), log));
    (
        Pipes {
            stdin: Box::new(stdin),
            stdout: Box::new(response),
        },
        receiver,
    )
}

/// Standard output and error as the log. With a terminal there is only one stream, and no headers.
pub(crate) fn log(attached: Attached, terminal: bool, tasks: &TaskTracker) -> OutputReceiver {
    let (log, receiver) = output_channel();
    let lines = Lines::new(LogStream::Stdout, terminal);
    if terminal {
        tasks.spawn(take_whole(attached, lines, log));
    } else {
        tasks.spawn(take_apart(attached, Output::Log(lines), log));
    }
    receiver
}

/// Hands the request's body on. When its writer is shut down or dropped, the process sees the end of its input; when
/// the process no longer takes any, the writer gets a broken pipe.
async fn feed(mut body: DuplexStream, mut stdin: WriteHalf<Attached>) {
    match tokio::io::copy(&mut body, &mut stdin).await {
        // An error here means that the container is gone, and with it whoever would have read the end.
        Ok(_) => drop(stdin.shutdown().await),
        Err(error) => tracing::debug!(%error, "an instance took no more input"),
    }
}

async fn take_whole(mut from: impl AsyncRead + Unpin, mut lines: Lines, log: mpsc::Sender<LogLine>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => send(&log, lines.push(&buffer[..length])).await,
            Err(error) => {
                tracing::debug!(%error, "an instance's terminal broke off");
                break;
            }
        }
    }
    send(&log, lines.finish()).await;
}

async fn take_apart(from: impl AsyncRead + Unpin, mut output: Output, log: mpsc::Sender<LogLine>) {
    let mut errors = Lines::new(LogStream::Stderr, false);
    if let Err(error) = frames(from, &mut output, &mut errors, &log).await {
        tracing::debug!(%error, "an instance's output broke off");
    }
    if let Output::Log(lines) = &mut output {
        send(&log, lines.finish()).await;
    }
    send(&log, errors.finish()).await;
}

async fn frames(
    mut from: impl AsyncRead + Unpin,
    output: &mut Output,
    errors: &mut Lines,
    log: &mpsc::Sender<LogLine>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut header = [0; 8];
    loop {
        if from.read(&mut header[..1]).await? == 0 {
            return Ok(());
        }
        from.read_exact(&mut header[1..]).await?;
        let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        while left > 0 {
            let wanted = left.min(buffer.len());
            let length = from.read(&mut buffer[..wanted]).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= length;
            let piece = &buffer[..length];
            if header[0] == STDERR {
                send(log, errors.push(piece)).await;
            } else {
                write(output, piece, log).await;
            }
        }
    }
}

async fn write(output: &mut Output, piece: &[u8], log: &mpsc::Sender<LogLine>) {
    match output {
        Output::Pipe(pipe) => {
            if pipe.write_all(piece).await.is_err() {
                *output = Output::Nowhere;
            }
        }
        Output::Log(lines) => send(log, lines.push(piece)).await,
        Output::Nowhere => {}
    }
}

async fn send(log: &mpsc::Sender<LogLine>, lines: impl IntoIterator<Item = LogLine>) {
    for line in lines {
        // A receiver that is gone wanted no more; the output is still read, so that the process isn't held up.
        if log.send(line).await.is_err() {
            break;
        }
    }
}
