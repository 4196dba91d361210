//! A connection whose other side may not stop in the middle.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::linger;

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How the head begins after which the connection is no longer HTTP.
const UPGRADED: &[u8] = b"HTTP/1.1 101 ";
/// How much is thrown away in one turn.
const DISCARD: usize = 16 * 1024;

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
    /// The other side has said that nothing more comes.
    ended: bool,
    /// Both directions belong to the upgraded protocol.
    upgraded: bool,
    lingering: Option<Lingering>,
}

/// For how long what comes after the answer is thrown away. A socket that is closed with unread bytes resets its
/// connection, and the reset may overtake the answer.
struct Lingering {
    silent: Pin<Box<Sleep>>,
    whole: Pin<Box<Sleep>>,
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
            ended: false,
            upgraded: false,
            lingering: None,
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

impl GuardedStream {
    /// Reads until the other side ends too, or for as long as it is worth.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            silent: Box::pin(tokio::time::sleep(linger::SILENT)),
            whole: Box::pin(tokio::time::sleep(linger::WHOLE)),
        });
        if lingering.whole.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut space = [MaybeUninit::uninit(); DISCARD];
        let mut buffer = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                lingering.silent.as_mut().reset(Instant::now() + linger::SILENT);
                // Others get their turn between two reads.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => lingering.silent.as_mut().poll(cx),
        }
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
        this.ended |= match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
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
        self.upgraded |= bytes.starts_with(UPGRADED);
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if self.ended || self.upgraded {
                return Poll::Ready(Ok(()));
            }
        }
        self.linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.upgraded |= slices.first().is_some_and(|first| first.starts_with(UPGRADED));
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
