//! A request's body that can be sent a second time, as long as no more of it was read than fits into memory: a node
//! that refuses work has read none of it, and what flow control lets through before is little.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use ::http::HeaderMap;
use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame, SizeHint};

use crate::{Body, BodyError};

/// So much is kept; beyond it the body can be sent once only.
const KEPT: usize = 1 << 20;

/// A request's body, whoever sends it at the moment.
#[derive(Clone)]
pub struct Replay(Arc<Mutex<State>>);

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Replay")
    }
}

struct State {
    body: Body,
    kept: VecDeque<Piece>,
    bytes: usize,
    /// Whether all that was read is kept.
    whole: bool,
    ended: bool,
    fault: Option<BodyError>,
    /// Which sender may read: an older one is dead.
    turn: u64,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// One sending of it.
#[derive(Debug)]
pub struct Sending {
    source: Replay,
    turn: u64,
    /// How many of the kept pieces were sent.
    sent: usize,
    hint: SizeHint,
    empty: bool,
}

impl Replay {
    /// Of this body.
    pub fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(State {
            body,
            kept: VecDeque::new(),
            bytes: 0,
            whole: true,
            ended: false,
            fault: None,
            turn: 0,
        })))
    }

    /// The body from its beginning; `None` where some of it is gone.
    pub fn send(&self) -> Option<Sending> {
        let mut state = self.lock();
        if !state.whole {
            return None;
        }
        state.turn += 1;
        let nothing_kept = state.kept.is_empty();
        let hint = if nothing_kept {
            state.body.size_hint()
        } else {
            SizeHint::default()
        };
        Some(Sending {
            source: self.clone(),
            turn: state.turn,
            sent: 0,
            hint,
            empty: nothing_kept && (state.ended || state.body.is_end_stream()),
        })
    }

    /// It will not be sent again: nothing of it has to be kept.
    pub fn settle(&self) {
        let mut state = self.lock();
        state.whole = false;
    }

    /// Why it broke off, if it did.
    pub fn fault(&self) -> Option<BodyError> {
        self.lock().fault.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, piece: &Piece) {
        if !self.whole {
            return;
        }
        if let Piece::Data(data) = piece {
            self.bytes += data.remaining();
        }
        if self.bytes > KEPT {
            self.whole = false;
            return;
        }
        self.kept.push_back(piece.clone());
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let source = self.source.clone();
        let mut state = source.lock();
        if state.turn != self.turn {
            return Poll::Ready(Some(Err(BodyError::Cut("it is sent elsewhere".to_owned()))));
        }
        let frame = |piece: Piece| match piece {
            Piece::Data(data) => Frame::data(data),
            Piece::Trailers(fields) => Frame::trailers(fields),
        };
        if !state.whole && self.sent >= state.kept.len() {
            state.kept.clear();
            self.sent = 0;
        }
        if let Some(piece) = state.kept.get(self.sent) {
            let piece = piece.clone();
            self.sent += 1;
            return Poll::Ready(Some(Ok(frame(piece))));
        }
        if let Some(fault) = &state.fault {
            return Poll::Ready(Some(Err(fault.clone())));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut state.body).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                state.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                state.fault = Some(error.clone());
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(got))) => {
                let piece = match got.into_data() {
                    Ok(data) => Piece::Data(data),
                    Err(got) => match got.into_trailers() {
                        Ok(fields) => Piece::Trailers(fields),
                        Err(other) => return Poll::Ready(Some(Ok(other))),
                    },
                };
                let before = state.kept.len();
                state.keep(&piece);
                if state.kept.len() > before {
                    self.sent += 1;
                }
                Poll::Ready(Some(Ok(frame(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.empty
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn all(sending: Sending) -> Result<Bytes, BodyError> {
        Ok(sending.collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn what_was_refused_is_sent_again_from_the_beginning() {
        let source = Replay::new(crate::full("some work"));
        let mut first = source.send().expect("whole");
        let frame = first.frame().await.expect("a frame").expect("no fault");
        assert_eq!(frame.into_data().expect("data"), "some work");
        let second = source.send().expect("still whole");
        assert!(
            first.frame().await.expect("an end").is_err(),
            "the older sending is over"
        );
        assert_eq!(all(second).await.expect("all of it"), "some work");
    }

    #[tokio::test]
    async fn what_is_too_large_to_keep_is_sent_once() {
        let large = vec![7; KEPT + 1];
        let source = Replay::new(crate::full(large.clone()));
        let first = source.send().expect("whole");
        assert_eq!(all(first).await.expect("all of it"), large);
        assert!(source.send().is_none());
    }

    #[tokio::test]
    async fn an_empty_body_is_known_to_be_empty() {
        assert!(Replay::new(crate::empty()).send().expect("whole").is_end_stream());
    }
}
