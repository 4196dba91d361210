//! A connection whose other side may not stop in the middle.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use skep_model::{Problem, ProblemCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::head::Head;
use crate::turn::Turn;
use crate::{linger, refusal};

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is thrown away in one turn.
const DISCARD: usize = 16 * 1024;

type Timer = Option<Pin<Box<Sleep>>>;

/// Who hears of the requests that were refused without having been read.
pub(crate) type Refused = Box<dyn Fn(&Problem) + Send + Sync>;

/// A stream that gives its caller only so much time for a head and for taking what is sent, and that says why it
/// refuses what hyper can't read: hyper itself has but a status for that.
pub(crate) struct GuardedStream {
    stream: TcpStream,
    preface: Preface,
    turn: Arc<Turn>,
    head: Head,
    /// Runs while a head is awaited, to the end of what was allowed for an earlier one at least.
    waiting: Pin<Box<Sleep>>,
    deadline: Instant,
    header_timeout: Duration,
    /// Runs while nothing can be sent.
    stalled: Timer,
    send_timeout: Duration,
    /// The other side has said that nothing more comes.
    ended: bool,
    lingering: Option<Lingering>,
    /// What is written instead of a bare answer, and how much of it already was.
    refusal: Option<(Vec<u8>, usize)>,
    refused: Refused,
}

/// How a connection began, which tells which HTTP it speaks.
enum Preface {
    /// So much of it was there.
    Begun(usize),
    /// HTTP/2 is spoken.
    Whole,
    /// HTTP/1 is spoken.
    Missing,
}

/// For how long what comes after the answer is thrown away. A socket that is closed with unread bytes resets its
/// connection, and the reset may overtake the answer.
struct Lingering {
    silent: Pin<Box<Sleep>>,
    whole: Pin<Box<Sleep>>,
}

impl GuardedStream {
    pub(crate) fn new(
        stream: TcpStream,
        turn: Arc<Turn>,
        header_timeout: Duration,
        send_timeout: Duration,
        refused: Refused,
    ) -> Self {
        let deadline = Instant::now() + header_timeout;
        Self {
            stream,
            preface: Preface::Begun(0),
            turn,
            head: Head::default(),
            waiting: Box::pin(tokio::time::sleep_until(deadline)),
            deadline,
            header_timeout,
            stalled: None,
            send_timeout,
            ended: false,
            lingering: None,
            refusal: None,
            refused,
        }
    }

    /// Whether an HTTP/1 head is awaited, as far as one knows.
    fn is_callers_turn(&self) -> bool {
        !self.is_http2() && self.turn.is_callers()
    }

    fn is_http2(&self) -> bool {
        matches!(self.preface, Preface::Whole)
    }

    /// Looks at what came while a head is awaited.
    fn look(&mut self, read: &[u8]) {
        if let Preface::Begun(matched) = self.preface {
            let expected = &PREFACE[matched..];
            let common = expected.iter().zip(read).take_while(|(a, b)| a == b).count();
            self.preface = match matched + common {
                all if all == PREFACE.len() => Preface::Whole,
                part if common == read.len() => Preface::Begun(part),
                _ => Preface::Missing,
            };
        }
        self.head.read(read);
        if self.head.is_ambiguous() {
            self.turn.found_ambiguous();
        }
    }

    /// Ready with an error once a head has taken too long. A caller who has begun one is told so.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.waiting.as_mut().poll(cx));
        if Instant::now() < self.deadline {
            // It was set for an earlier head.
            self.waiting.as_mut().reset(self.deadline);
            ready!(self.waiting.as_mut().poll(cx));
        }
        if self.head.has_begun() {
            let problem = Problem::new(ProblemCode::RequestTimeout);
            (self.refused)(&problem);
            // Nothing else is on its way, so the socket has room for this, or nobody is there.
            let _ = self.stream.try_write(&refusal::bytes(&problem));
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes what is to be said instead of these bytes, if they are hyper's bare answer.
    fn poll_refusal(&mut self, answer: &[u8], cx: &mut Context<'_>) -> Option<Poll<io::Result<()>>> {
        if self.refusal.is_none() && self.is_callers_turn() {
            let problem = refusal::of_bare(answer, self.head.is_request_line())?;
            (self.refused)(&problem);
            self.refusal = Some((refusal::bytes(&problem), 0));
        }
        let (bytes, written) = self.refusal.as_mut()?;
        while *written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[*written..]) {
                Poll::Ready(Ok(count @ 1..)) => *written += count,
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        self.refusal = None;
        Some(Poll::Ready(Ok(())))
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
        if !this.is_callers_turn() {
            return polled;
        }
        if polled.is_pending() {
            return this.poll_deadline(cx);
        }
        this.look(&buffer.filled()[before..]);
        polled
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match self.poll_refusal(bytes, cx) {
            Some(refused) => refused.map_ok(|()| bytes.len()),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        };
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() && !self.is_http2() && self.turn.flushed() {
            self.head = Head::default();
            self.deadline = Instant::now() + self.header_timeout;
            // An error is met again by whoever reads; here it is only that the clock must run.
            let _ = self.poll_deadline(cx);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if self.ended || self.turn.is_upgraded() {
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
        let first = slices.first().map_or(&[][..], |first| first);
        let polled = match self.poll_refusal(first, cx) {
            Some(refused) => refused.map_ok(|()| first.len()),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        };
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
