//! The rest of a command's output, as a response's body that runs the command to its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use skep_dispatch::Fate;
use skep_engine::Exit;

use super::length::Length;
use super::unreadable;
use crate::body::BodyError;
use crate::pipes::{Event, Process};
use crate::run::{Failure, Run};
use crate::silence::Silence;

/// What a command writes, until it exits. It ends well only where the command did.
pub(crate) struct ProcessBody {
    /// `None` after the end.
    state: Option<State>,
    /// What was written before the head.
    first: Bytes,
    status: StatusCode,
    /// Why it is cut, once what came before has had its chance to be sent: a server that meets an error forgets
    /// what it has not written.
    cut: Option<BodyError>,
    tolerant: bool,
    /// What the head said of it, if anything.
    length: Option<Length>,
}

struct State {
    run: Run,
    process: Process,
    silence: Silence,
    exit: Option<Exit>,
    ended: bool,
}

impl ProcessBody {
    pub(crate) fn new(
        run: Run,
        process: Process,
        mut silence: Silence,
        status: StatusCode,
        first: Bytes,
        exit: Option<Exit>,
        ended: bool,
    ) -> Self {
        silence.touch();
        Self {
            state: Some(State {
                run,
                process,
                silence,
                exit,
                ended,
            }),
            first,
            status,
            tolerant: false,
            cut: None,
            length: None,
        }
    }

    /// An exit code of the command's own choosing does not spoil its output; only being killed does.
    pub(crate) fn tolerant(mut self) -> Self {
        self.tolerant = true;
        self
    }

    /// The head said that it has so many bytes. It is cut where there are fewer.
    pub(crate) fn of_length(mut self, length: Option<u64>) -> Self {
        self.length = length.map(Length::of);
        self
    }

    /// The output as it is passed on, where some of it is.
    fn pass(&mut self, output: Bytes) -> Option<Bytes> {
        match &mut self.length {
            Some(length) => length.pass(output),
            None => Some(output),
        }
    }

    fn cut(
        &mut self,
        failure: Failure,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let reason = failure.problem.code.title().to_owned();
        if let Some(state) = self.state.take() {
            state.run.cut(failure, self.status);
        }
        self.cut = Some(BodyError::Cut(reason));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn finish(&mut self, exit: Exit, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let spoiled = if self.tolerant {
            exit.code > 128 || exit.out_of_memory
        } else {
            exit.code != 0
        };
        if spoiled {
            return self.cut(Failure::exit(exit), cx);
        }
        let length = self.length.take();
        if let Some(failure) = length.as_ref().and_then(|length| length.shortfall(exit)) {
            return self.cut(failure, cx);
        }
        if let Some(state) = self.state.take() {
            state.run.complete(self.status, Some(exit), Fate::Spent);
        }
        let last = length.and_then(Length::into_last);
        Poll::Ready(last.map(|last| Ok(Frame::data(last))))
    }
}

impl http_body::Body for ProcessBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let first = std::mem::take(&mut this.first);
            if let Some(passed) = this.pass(first) {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
        loop {
            let Some(state) = &mut this.state else {
                return Poll::Ready(this.cut.take().map(Err));
            };
            if let Some(exit) = state.exit
                && state.ended
            {
                return this.finish(exit, cx);
            }
            let Poll::Ready(event) = state.process.poll_next(cx) else {
                break;
            };
            state.silence.touch();
            match event {
                Event::Output(bytes) => {
                    if let Some(passed) = this.pass(bytes) {
                        return Poll::Ready(Some(Ok(Frame::data(passed))));
                    }
                }
                Event::OutputEnd => state.ended = true,
                Event::Exited(exit) => state.exit = Some(exit),
                Event::UploadFailed(error) => return this.cut(Failure::new(error.problem()), cx),
                Event::Unreadable(error) => return this.cut(unreadable(&error), cx),
            }
        }
        let Some(state) = &mut this.state else {
            return Poll::Ready(this.cut.take().map(Err));
        };
        let fed = state.process.fed();
        if state.silence.poll(fed, cx).is_ready() {
            return this.cut(Failure::timeout(), cx);
        }
        Poll::Pending
    }
}
