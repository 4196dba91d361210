//! A request's body as it comes in: bounded in size and in how long it may pause.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use skep_invoke::{Body, BodyError, empty};
use tokio::time::Sleep;

use crate::linger::Leftover;

/// A body with its bounds.
struct Bounded {
    /// There until it is dropped.
    incoming: Option<Incoming>,
    limit: u64,
    left: u64,
    pause: Duration,
    /// Runs while more is waited for; a function that does not ask for more is no pause of the caller's.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Where what is not asked for is thrown away; `None` where the connection itself does that, as HTTP/1's does.
    leftover: Option<Arc<Leftover>>,
}

/// Bounds a body.
pub(crate) fn bounded(
    incoming: Incoming,
    limit: u64,
    pause: Duration,
    leftover: Option<Arc<Leftover>>,
) -> Body {
    if incoming.is_end_stream() {
        return empty();
    }
    Bounded {
        incoming: Some(incoming),
        limit,
        left: limit,
        pause,
        waiting: None,
        leftover,
    }
    .boxed_unsync()
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if let (Some(incoming), Some(leftover)) = (self.incoming.take(), &self.leftover) {
            leftover.put(incoming, self.limit);
        }
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) else {
            let pause = this.pause;
            let waiting = this
                .waiting
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            return waiting.as_mut().poll(cx).map(|()| Some(Err(BodyError::TimedOut)));
        };
        this.waiting = None;
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            this.left = this
                .left
                .checked_sub(length)
                .ok_or(BodyError::TooLarge { limit: this.limit })?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}
