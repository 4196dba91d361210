//! An agent's answer on its way to the caller.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use skep_invoke::{Body, BodyError, Replay, empty, remove_hop_by_hop, sign};
use skep_model::{Phase, Phases, ProblemCode};
use skep_wire::{Field as _, OUTCOME, Outcome, PROBLEM};
use tokio_util::task::TaskTracker;

use crate::course::Course;
use crate::run::lost;
use crate::shared::Ticket;

/// How long the end of an answer may stay out whose bytes are all here.
const END: Duration = Duration::from_secs(5);
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Makes the agent's answer the caller's.
pub(crate) fn pass_on(
    mut course: Course,
    response: Response<Incoming>,
    ticket: Ticket,
    upload: Replay,
    tasks: &TaskTracker,
) -> Response<Body> {
    course.answered();
    let status = response.status();
    let problem = problem_of(response.headers());
    let (parts, incoming) = response.into_parts();
    let mut headers = parts.headers;
    remove_hop_by_hop(&mut headers);
    headers.remove(PROBLEM);
    merge_timing(&mut headers, &mut course);
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    if incoming.is_end_stream() {
        course.complete(status, problem, None);
        return answer;
    }
    let tasks = tasks.clone();
    let body = AnswerBody {
        state: Some((course, ticket)),
        missing: incoming.size_hint().exact(),
        incoming: Some(incoming),
        tasks,
        status,
        problem,
        outcome: None,
        cut: None,
        upload,
    };
    answer.map(|_| body.boxed_unsync())
}

/// Skep's own word on what went wrong, as the agent marks it: a function's answer may look the same.
fn problem_of(headers: &HeaderMap) -> Option<ProblemCode> {
    let code = headers.get(PROBLEM)?.to_str().ok()?;
    ProblemCode::ALL
        .iter()
        .copied()
        .find(|known| known.as_str() == code)
}

/// The agent's phases and the gateway's own wait become one.
pub(crate) fn merge_timing(headers: &mut HeaderMap, course: &mut Course) {
    let mut values: Vec<HeaderValue> = headers.get_all(SERVER_TIMING).iter().cloned().collect();
    // The last is the agent's; the function's own stand before it.
    let there = values.pop().and_then(|value| read_phases(&value));
    if let Some(there) = there {
        headers.remove(SERVER_TIMING);
        for value in values {
            headers.append(SERVER_TIMING, value);
        }
        let phases = course.phases();
        for phase in Phase::ALL {
            let mine = of(phases, phase);
            *mine = match (*mine, there.get(phase)) {
                (Some(mine), Some(more)) => Some(mine + more),
                (mine, more) => mine.or(more),
            };
        }
    }
    let id = course.id();
    let phases = *course.phases();
    sign(headers, id, &phases);
}

fn of(phases: &mut Phases, phase: Phase) -> &mut Option<Duration> {
    match phase {
        Phase::Queue => &mut phases.queue,
        Phase::Sandbox => &mut phases.sandbox,
        Phase::Start => &mut phases.start,
        Phase::Ready => &mut phases.ready,
        Phase::Handler => &mut phases.handler,
    }
}

/// Reads what [`sign`] writes; `None` where it is something else.
fn read_phases(value: &HeaderValue) -> Option<Phases> {
    let mut phases = Phases::default();
    for entry in value.to_str().ok()?.split(',') {
        let (name, time) = entry.trim().split_once(";dur=")?;
        let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == name)?;
        let milliseconds: f64 = time.parse().ok()?;
        *of(&mut phases, phase) = Some(Duration::try_from_secs_f64(milliseconds / 1000.0).ok()?);
    }
    Some(phases)
}

/// The body of an answer; it holds the place in the sandbox until its end.
struct AnswerBody {
    /// `None` after the end.
    state: Option<(Course, Ticket)>,
    /// `None` once it was left behind.
    incoming: Option<Incoming>,
    /// How many bytes are still to come, where the answer says how many there are.
    missing: Option<u64>,
    tasks: TaskTracker,
    status: StatusCode,
    problem: Option<ProblemCode>,
    outcome: Option<Outcome>,
    /// Why it is cut, once what came before has had its chance to be sent: a server that meets an error forgets what it
    /// has not written.
    cut: Option<BodyError>,
    /// The request's body, which may still be on its way.
    upload: Replay,
}

impl AnswerBody {
    fn finish(&mut self) {
        if let Some((course, ticket)) = self.state.take() {
            drop(ticket);
            course.complete(self.status, self.problem, self.outcome.take());
        }
    }

    fn broken(&mut self, error: &hyper::Error) -> BodyError {
        let problem = match self.upload.fault() {
            Some(fault) => fault.problem(),
            None => lost(error),
        };
        if let Some((course, ticket)) = self.state.take() {
            drop(ticket);
            course.cut(&problem, self.status);
        }
        BodyError::Cut(problem.code.title().to_owned())
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.state.is_none() {
            return Poll::Ready(self.cut.take().map(Err));
        }
        loop {
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(None);
            };
            return match std::task::ready!(Pin::new(incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let frame = match frame.into_trailers() {
                        Ok(mut trailers) => {
                            // For this gateway alone.
                            let value = trailers.remove(OUTCOME);
                            self.outcome = value.as_ref().and_then(|value| Outcome::read(value).ok());
                            if trailers.is_empty() {
                                continue;
                            }
                            Frame::trailers(trailers)
                        }
                        Err(frame) => frame,
                    };
                    if let (Some(missing), Some(data)) = (&mut self.missing, frame.data_ref()) {
                        *missing = missing.saturating_sub(data.len() as u64);
                    }
                    if frame.is_trailers() || self.incoming.as_ref().is_none_or(Incoming::is_end_stream) {
                        self.finish();
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(error)) => {
                    self.cut = Some(self.broken(&error));
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => {
                    self.finish();
                    Poll::Ready(None)
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

/// A caller that has all that was announced asks for no more, though the end is not here yet. Not to wait for it would
/// tell the agent that the caller went away.
impl Drop for AnswerBody {
    fn drop(&mut self) {
        if self.state.is_none() || self.missing != Some(0) {
            return;
        }
        let mut incoming = self.incoming.take();
        self.finish();
        self.tasks.spawn(async move {
            let rest = async {
                while incoming.as_mut()?.frame().await?.is_ok() {}
                Some(())
            };
            let _ = tokio::time::timeout(END, rest).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_as_they_are_written() {
        let mut headers = HeaderMap::new();
        let phases = Phases {
            queue: Some(Duration::from_micros(1_500)),
            handler: Some(Duration::from_millis(20)),
            ..Phases::default()
        };
        sign(&mut headers, skep_model::InvocationId::generate(), &phases);
        assert_eq!(read_phases(&headers[SERVER_TIMING]), Some(phases));
        assert_eq!(read_phases(&HeaderValue::from_static("db;dur=1")), None);
    }
}
