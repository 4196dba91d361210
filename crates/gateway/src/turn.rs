//! Whose turn it is on an HTTP/1 connection: the caller's, from whom the next head is awaited, or Skep's, which
//! answers one. What the connection's two ends know each in part is kept here together: the stream sees bytes and
//! not where an answer ends, the service sees requests and not their bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use skep_invoke::{Body, BodyError};

/// A head is awaited: what hyper writes meanwhile is an answer of its own, to what it can't read.
const CALLER: u8 = 0;
/// A request was handed over.
const SKEP: u8 = 1;
/// Its answer is complete, though perhaps not sent.
const ANSWERED: u8 = 2;
/// It is no longer HTTP that is spoken.
const UPGRADED: u8 = 3;

/// Only one task at a time touches it, the connection's own: nothing is ordered by it.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    phase: AtomicU8,
    ambiguous: AtomicBool,
}

impl Turn {
    pub(crate) fn is_callers(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == CALLER
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == UPGRADED
    }

    /// A head was read.
    pub(crate) fn begin(&self) {
        self.phase.store(SKEP, Ordering::Relaxed);
    }

    /// What was answered hands the connection over to another protocol.
    pub(crate) fn upgrade(&self) {
        self.phase.store(UPGRADED, Ordering::Relaxed);
    }

    /// Everything that was to be sent is sent. Returns whether an answer ended with that, and the next head is awaited.
    pub(crate) fn flushed(&self) -> bool {
        let answered = self.phase.load(Ordering::Relaxed) == ANSWERED;
        if answered {
            self.phase.store(CALLER, Ordering::Relaxed);
            self.ambiguous.store(false, Ordering::Relaxed);
        }
        answered
    }

    /// The head that is being read says in two ways where its body ends.
    pub(crate) fn found_ambiguous(&self) {
        self.ambiguous.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ambiguous(&self) -> bool {
        self.ambiguous.load(Ordering::Relaxed)
    }
}

/// An answer's body, which ends Skep's turn.
pub(crate) struct Answer {
    body: Body,
    /// `None` on HTTP/2, where many have their turn at once.
    turn: Option<Arc<Turn>>,
}

impl Answer {
    pub(crate) fn new(body: Body, turn: Option<Arc<Turn>>) -> Self {
        Self { body, turn }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(turn) = &self.turn
            && turn.phase.load(Ordering::Relaxed) == SKEP
        {
            turn.phase.store(ANSWERED, Ordering::Relaxed);
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
