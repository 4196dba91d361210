//! `exec`: a command, standard input to standard output (DESIGN 4.2).
//!
//! The head of the response waits for the exit, for 64 KiB, or for 100 ms after the first byte, whichever is first.
//! Until then a failure is an answer; afterwards it can only be told by cutting the body.

mod length;
mod stream;

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use skep_dispatch::Fate;
use skep_engine::Exit;
use skep_model::{Problem, ProblemCode};
use tokio::time::Sleep;

use crate::body::{Body, full};
use crate::pipes::{Event, Process};
use crate::response::has_body;
use crate::run::{Failure, Run};
use crate::silence::Silence;
pub(crate) use stream::ProcessBody;

/// The head is sent as soon as this much was written.
const HEAD_BYTES: usize = 64 * 1024;
/// The head is sent this long after the first byte.
const HEAD_DELAY: Duration = Duration::from_millis(100);

/// Runs a command to its head; the body of the response runs it to its end.
pub(crate) async fn respond(mut run: Run, process: Process, method: &Method) -> Response<Body> {
    let silence = Silence::new(run.timeout());
    let discard = !has_body(method, StatusCode::OK);
    let mut head = Head {
        process,
        silence,
        written: BytesMut::new(),
        delay: None,
        exit: None,
        ended: false,
        discard,
    };
    let outcome = poll_fn(|cx| head.poll(cx)).await;
    let Head {
        process,
        silence,
        written,
        exit,
        ended,
        ..
    } = head;
    if let Err(failure) = outcome {
        return run.fail(failure);
    }
    let written = written.freeze();
    let content_type = content_type(&written);
    let mut response = match exit {
        Some(exit) if ended => {
            let mut response = Response::new(full(written.clone()));
            if !discard {
                response
                    .headers_mut()
                    .insert(CONTENT_LENGTH, written.len().into());
            }
            run.head(&mut response);
            run.complete(StatusCode::OK, Some(exit), Fate::Spent);
            response
        }
        _ => {
            let mut response = Response::new(crate::body::empty());
            run.head(&mut response);
            let body = ProcessBody::new(run, process, silence, StatusCode::OK, written, exit, ended);
            response.map(|_| body.boxed_unsync())
        }
    };
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        // A browser must not make HTML of what a command printed.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}

/// Text where what is known of the output is text, bytes otherwise; nothing is said of nothing.
fn content_type(written: &Bytes) -> Option<&'static str> {
    if written.is_empty() {
        return None;
    }
    let text = match std::str::from_utf8(written) {
        Ok(_) => true,
        // The window may end in the middle of a character.
        Err(error) => error.error_len().is_none(),
    };
    let text = text && !written.contains(&0);
    Some(if text {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    })
}

/// A command before the head of its response.
struct Head {
    process: Process,
    silence: Silence,
    written: BytesMut,
    delay: Option<Pin<Box<Sleep>>>,
    exit: Option<Exit>,
    ended: bool,
    /// Whether the response has no body: then the head waits for the exit, whatever is written.
    discard: bool,
}

impl Head {
    /// Ready when the head can be sent, or with why it never will be.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while let Poll::Ready(event) = self.process.poll_next(cx) {
            match event {
                Event::Output(_) if self.discard => {}
                Event::Output(bytes) => {
                    self.delay
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_DELAY)));
                    self.written.extend_from_slice(&bytes);
                }
                Event::OutputEnd => self.ended = true,
                Event::Exited(exit) if exit.code != 0 => return Poll::Ready(Err(Failure::exit(exit))),
                Event::Exited(exit) => {
                    self.exit = Some(exit);
                    // What is still in the pipe is there already.
                    self.delay
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_DELAY)));
                }
                Event::UploadFailed(error) => return Poll::Ready(Err(Failure::new(error.problem()))),
                Event::Unreadable(error) => return Poll::Ready(Err(unreadable(&error))),
            }
            if (self.exit.is_some() && self.ended) || self.written.len() >= HEAD_BYTES {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(delay) = &mut self.delay
            && delay.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        let fed = self.process.fed();
        self.silence.poll(fed, cx).map(|()| Err(Failure::timeout()))
    }
}

/// The pipe broke, which is the engine's doing.
pub(crate) fn unreadable(error: &std::io::Error) -> Failure {
    let problem = Problem::new(ProblemCode::EngineUnavailable);
    Failure::new(problem.internal(format!("reading the function's standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_text_and_bytes_as_bytes() {
        let kind = |bytes: &'static [u8]| content_type(&Bytes::from_static(bytes));
        assert_eq!(kind(b""), None);
        assert_eq!(kind(b"hello\n"), Some("text/plain; charset=utf-8"));
        assert_eq!(kind("Grüße €".as_bytes()), Some("text/plain; charset=utf-8"));
        assert_eq!(kind(b"cut \xe2\x82"), Some("text/plain; charset=utf-8"));
        assert_eq!(kind(b"\xff\xd8\xff\xe0"), Some("application/octet-stream"));
        assert_eq!(kind(b"\x00\x01"), Some("application/octet-stream"));
    }
}
