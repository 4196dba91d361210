//! An instance's response, as a body that keeps the lease until its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use skep_dispatch::Fate;

use super::http1::Wire;
use super::{bad, exited, explain};
use crate::body::BodyError;
use crate::run::{Failure, Run};
use crate::silence::Silence;
use crate::upload::Progress;

/// The body of an instance's response.
pub(super) struct HttpBody {
    /// `None` after the end.
    state: Option<State>,
    status: StatusCode,
    /// Why it is cut, once what came before has had its chance to be sent: a server that meets an error forgets
    /// what it has not written.
    cut: Option<BodyError>,
}

struct State {
    run: Run,
    incoming: Incoming,
    /// The connection it comes by; `None` for HTTP/2, which moves by itself.
    wire: Option<Wire>,
    silence: Silence,
    progress: Arc<Progress>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl HttpBody {
    pub(super) fn new(
        run: Run,
        incoming: Incoming,
        wire: Option<Wire>,
        silence: Silence,
        progress: Arc<Progress>,
        status: StatusCode,
    ) -> Self {
        Self {
            state: Some(State {
                run,
                incoming,
                wire,
                silence,
                progress,
            }),
            status,
            cut: None,
        }
    }

    fn finish(&mut self) {
        let Some(State {
            run, wire, silence, ..
        }) = self.state.take()
        else {
            return;
        };
        // The connection first: whoever gets the instance next looks for it.
        if let Some(wire) = wire {
            wire.release(silence);
        }
        run.complete(self.status, None, Fate::Reusable);
    }

    fn cut(&mut self, failure: Failure, cx: &mut Context<'_>) -> Polled {
        let reason = failure.problem.code.title().to_owned();
        if let Some(state) = self.state.take() {
            state.run.cut(failure, self.status);
        }
        self.cut = Some(BodyError::Cut(reason));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn broken(&mut self, error: &hyper::Error, cx: &mut Context<'_>) -> Polled {
        let failure = match &mut self.state {
            Some(State { progress, .. }) if progress.fault().is_some() => {
                progress.fault().map(|fault| Failure::new(fault.problem()))
            }
            Some(State { run, .. }) => {
                let exit = run.lease().and_then(|lease| lease.instance().try_exited());
                exit.map(|exit| exited(exit, &explain(error)))
            }
            None => None,
        };
        self.cut(failure.unwrap_or_else(|| bad(&explain(error))), cx)
    }
}

impl State {
    /// Reads from the connection, moving it as long as that brings something.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        let (Poll::Pending, Some(wire)) = (&polled, &mut self.wire) else {
            return polled;
        };
        let _ = wire.poll(cx);
        Pin::new(&mut self.incoming).poll_frame(cx)
    }
}

impl http_body::Body for HttpBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Some(state) = &mut self.state else {
            return Poll::Ready(self.cut.take().map(Err));
        };
        match state.poll(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                state.silence.touch();
                // Nothing comes after trailers, and whoever got them asks for nothing more.
                if frame.is_trailers() || state.incoming.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.broken(&error, cx),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => match state.silence.poll(Some(state.progress.last()), cx) {
                Poll::Ready(()) => self.cut(Failure::timeout(), cx),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.state
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |state| state.incoming.size_hint())
    }
}
