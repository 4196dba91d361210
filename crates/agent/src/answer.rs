//! The body of an invocation's answer: it keeps the invocation's place until its end, and behind an asynchronous one's
//! it says how the invocation ended, which is the accepting gateway's to keep.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use skep_invoke::{Body, BodyError};
use skep_model::Record;
use skep_wire::{Field as _, OUTCOME, Outcome};
use tokio::sync::oneshot;

use crate::sandbox::Inside;

/// Such a body.
pub(crate) struct Answer {
    body: Option<Body>,
    record: Option<oneshot::Receiver<Record>>,
    trailers: HeaderMap,
    /// Why the body was cut, which the outcome says as well.
    cut: Option<BodyError>,
    _inside: Inside,
}

impl Answer {
    /// `record` is where the record of an asynchronous invocation comes from.
    pub(crate) fn new(body: Body, record: Option<oneshot::Receiver<Record>>, inside: Inside) -> Self {
        Self {
            body: Some(body),
            record,
            trailers: HeaderMap::new(),
            cut: None,
            _inside: inside,
        }
    }

    /// What comes behind the body.
    fn end(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(record) = &mut self.record else {
            return Poll::Ready(None);
        };
        let answered = std::task::ready!(Pin::new(record).poll(context));
        self.record = None;
        Poll::Ready(match answered.ok().and_then(outcome) {
            Some(outcome) => {
                self.trailers.insert(OUTCOME, outcome.header());
                Some(Ok(Frame::trailers(std::mem::take(&mut self.trailers))))
            }
            None => self.cut.take().map(Err),
        })
    }
}

fn outcome(record: Record) -> Option<Outcome> {
    Some(Outcome {
        ending: record.ending?,
        revision: record.revision,
        instance: record.instance,
        started: record.started,
        phases: record.phases,
    })
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else {
            return self.end(context);
        };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        let frame = frame.map(|frame| frame.map(Frame::into_trailers));
        match frame {
            Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
            Some(Ok(Ok(mut trailers))) => {
                skep_wire::disown_answer(&mut trailers);
                if self.record.is_none() {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                self.trailers = trailers;
            }
            Some(Err(error)) if self.record.is_none() => return Poll::Ready(Some(Err(error))),
            None if self.record.is_none() => return Poll::Ready(None),
            Some(Err(error)) => self.cut = Some(error),
            None => {}
        }
        // Whatever still hangs on the body ends the invocation.
        self.body = None;
        self.end(context)
    }

    fn is_end_stream(&self) -> bool {
        self.record.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
