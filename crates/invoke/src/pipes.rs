//! A command's pipes: the request's body goes in, what the command writes comes out, and it exits. All three move
//! whenever one is waited for, in the task of whoever waits, so that nothing has to be spawned or joined.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use http_body::Body as _;
use skep_engine::{Exit, Instance, Pipes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::body::BodyError;
use crate::upload::{Progress, Upload};

/// How much is read from a pipe at once.
const WINDOW: usize = 16 * 1024;

/// What happens at a command's pipes.
#[derive(Debug)]
pub(crate) enum Event {
    /// It wrote something.
    Output(Bytes),
    /// Every holder of its standard output closed it.
    OutputEnd,
    /// It exited.
    Exited(Exit),
    /// The request's body broke off; the command must not take what it has for the whole.
    UploadFailed(BodyError),
    /// Its standard output can't be read.
    Unreadable(std::io::Error),
}

/// A command that runs.
pub(crate) struct Process {
    feed: Option<Feed>,
    stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: BytesMut,
    exited: Option<BoxFuture<'static, Exit>>,
    progress: Arc<Progress>,
}

impl Process {
    pub(crate) fn new(instance: Arc<dyn Instance>, pipes: Pipes, upload: Upload) -> Self {
        let progress = upload.progress();
        let feed = Feed {
            stdin: pipes.stdin,
            upload: Some(upload),
            chunk: Bytes::new(),
            flushed: true,
        };
        Self {
            feed: Some(feed),
            stdout: Some(pipes.stdout),
            buffer: BytesMut::new(),
            exited: Some(Box::pin(async move { instance.exited().await })),
            progress,
        }
    }

    /// When the request's body moved last, while it does.
    pub(crate) fn fed(&self) -> Option<Instant> {
        self.feed.as_ref().map(|_| self.progress.last())
    }

    /// The next thing that happens; pending for ever after the output's end and the exit. What the command wrote
    /// before it exited is told only after its exit where both are there at once.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(exited) = &mut self.exited
            && let Poll::Ready(exit) = exited.as_mut().poll(cx)
        {
            self.exited = None;
            // Nobody reads the rest of the request's body any more.
            self.feed = None;
            return Poll::Ready(Event::Exited(exit));
        }
        if let Some(feed) = &mut self.feed
            && let Poll::Ready(fed) = feed.poll(cx)
        {
            self.feed = None;
            if let Err(error) = fed {
                return Poll::Ready(Event::UploadFailed(error));
            }
        }
        self.poll_output(cx)
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(stdout) = &mut self.stdout else {
            return Poll::Pending;
        };
        self.buffer.reserve(WINDOW);
        match ready!(poll_read_buf(Pin::new(stdout), cx, &mut self.buffer)) {
            Ok(0) => {
                self.stdout = None;
                Poll::Ready(Event::OutputEnd)
            }
            Ok(_) => Poll::Ready(Event::Output(self.buffer.split().freeze())),
            Err(error) => {
                self.stdout = None;
                Poll::Ready(Event::Unreadable(error))
            }
        }
    }
}

/// The request's body on its way into standard input.
struct Feed {
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// `None` once it ended and only the end of file is left to be given.
    upload: Option<Upload>,
    chunk: Bytes,
    flushed: bool,
}

impl Feed {
    /// Ready when the command has the end of file, or reads no more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            if self.chunk.has_remaining() {
                match ready!(Pin::new(&mut self.stdin).poll_write(cx, &self.chunk)) {
                    // A command may close its standard input, or exit, without reading all of it.
                    Ok(0) | Err(_) => return Poll::Ready(Ok(())),
                    Ok(count) => self.chunk.advance(count),
                }
                self.flushed = false;
                continue;
            }
            let Some(upload) = &mut self.upload else {
                let _ = ready!(Pin::new(&mut self.stdin).poll_shutdown(cx));
                return Poll::Ready(Ok(()));
            };
            match Pin::new(upload).poll_frame(cx) {
                // Trailers have no place in a pipe.
                Poll::Ready(Some(Ok(frame))) => self.chunk = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => self.upload = None,
                Poll::Pending => {
                    // What was written must not wait for what comes next.
                    if !self.flushed {
                        self.flushed = Pin::new(&mut self.stdin).poll_flush(cx).is_ready();
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
