//! The request's body on its way to the instance, and what can be told of it from elsewhere.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{Body, BodyError, empty};

/// What can be told of a request's body while somebody else reads it.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    /// When the last frame passed, in microseconds after `begun`.
    moved: AtomicU64,
    touched: AtomicBool,
    fault: OnceLock<BodyError>,
}

impl Progress {
    /// Nothing moved yet.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            touched: AtomicBool::new(false),
            fault: OnceLock::new(),
        }
    }

    /// Something moved.
    pub(crate) fn note(&self) {
        let after = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.moved.store(after, Ordering::Relaxed);
    }

    /// When a frame passed last, or when the body was handed over.
    pub(crate) fn last(&self) -> Instant {
        self.begun + Duration::from_micros(self.moved.load(Ordering::Relaxed))
    }

    /// Whether any of it was read: from then on it can't be sent a second time.
    pub(crate) fn touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Why it broke off, if it did.
    pub(crate) fn fault(&self) -> Option<&BodyError> {
        self.fault.get()
    }
}

/// A request's body that notes its progress.
pub(crate) struct Upload {
    body: Body,
    progress: Arc<Progress>,
}

impl Upload {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            progress: Arc::new(Progress::new()),
        }
    }

    /// No body, of the same request.
    pub(crate) fn nothing(progress: &Arc<Progress>) -> Self {
        Self {
            body: empty(),
            progress: progress.clone(),
        }
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            let progress = &self.progress;
            progress.note();
            match frame {
                Some(Ok(_)) => progress.touched.store(true, Ordering::Relaxed),
                // The first reason is the true one; the cell keeps it.
                Some(Err(error)) => drop(progress.fault.set(error.clone())),
                None => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
