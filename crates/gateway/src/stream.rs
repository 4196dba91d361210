//! A connection whose other side may not stop in the middle.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Timer = Option<Pin<Box<Sleep>>>;

/// A stream with two clocks of its own. HTTP/1's header has another, which starts only where it is known that the
/// connection speaks HTTP/1: what comes before, and a caller who takes nothing, are watched here.
pub(crate) struct GuardedStream {
    stream: TcpStream,
    /// Runs until it is known which HTTP is spoken.
    opening: Timer,
    /// How much of the preface was there.
    matched: usize,
    /// Runs while nothing can be sent.
    stalled: Timer,
    send_timeout: Duration,
}

impl GuardedStream {
    pub(crate) fn new(stream: TcpStream, opening: Duration, send_timeout: Duration) -> Self {
        let opening = Some(Box::pin(tokio::time::sleep(opening)));
        Self {
            stream,
            opening,
            matched: 0,
            stalled: None,
            send_timeout,
        }
    }

    fn opened(&mut self, read: &[u8]) {
        let expected = &PREFACE[self.matched..];
        let common = expected.iter().zip(read).take_while(|(a, b)| a == b).count();
        self.matched += common;
        if common < read.len() || self.matched == PREFACE.len() {
            self.opening = None;
        }
    }

    fn watch<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let limit = self.send_timeout;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(opening) = &mut this.opening else {
            return polled;
        };
        if polled.is_pending() {
            return opening
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        this.opened(&buffer.filled()[before..]);
        polled
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
