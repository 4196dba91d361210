//! `cgi`: CGI/1.1 (RFC 3875). The request in the environment and on standard input, a header block and a body out.

mod environment;
mod header;
mod spill;

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::{Method, Response};
use http_body_util::BodyExt as _;
use skep_engine::Exit;
use skep_model::{Problem, ProblemCode};

use crate::body::{Body, empty};
use crate::exec::{ProcessBody, unreadable};
use crate::headers::remove_hop_by_hop;
use crate::pipes::{Event, Process};
use crate::response::has_body;
use crate::run::{Failure, Run};
use crate::silence::Silence;
pub(crate) use environment::variables;
use header::{Answer, MAX_HEADER};
pub(crate) use spill::measure;

/// On a response: the function answered with a local redirect (RFC 3875, section 6.2.2), and whoever routes is to
/// answer with what a GET of this path and query gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRedirect(pub String);

/// Runs a script to the end of its header block; the body of the response runs it to its end.
pub(crate) async fn respond(mut run: Run, process: Process, method: &Method) -> Response<Body> {
    let silence = Silence::new(run.timeout());
    let mut head = Head {
        process,
        silence,
        written: BytesMut::new(),
        exit: None,
        ended: false,
    };
    let answer = match poll_fn(|cx| head.poll(cx)).await {
        Ok(answer) => answer,
        Err(failure) => return run.fail(failure),
    };
    let mut response = Response::new(empty());
    let length = match answer {
        Answer::Document {
            status,
            phrase,
            mut headers,
            length,
        } => {
            remove_hop_by_hop(&mut headers);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            phrase.map(|phrase| response.extensions_mut().insert(phrase));
            length
        }
        Answer::LocalRedirect(path) => {
            response.extensions_mut().insert(LocalRedirect(path));
            Some(0)
        }
    };
    let status = response.status();
    run.head(&mut response);
    // A server reads nothing of a body that it knows to be empty, and would never hear of the script's end.
    let discarded = length == Some(0) || !has_body(method, status);
    let Head {
        process,
        silence,
        written,
        exit,
        ended,
        ..
    } = head;
    let mut body = ProcessBody::new(run, process, silence, status, written.freeze(), exit, ended).tolerant();
    if !discarded {
        return response.map(|_| body.of_length(length).boxed_unsync());
    }
    // The script runs to its end all the same: it may do its work after its header.
    while body.frame().await.is_some() {}
    response
}

/// A script before the end of its header block.
struct Head {
    process: Process,
    silence: Silence,
    written: BytesMut,
    exit: Option<Exit>,
    ended: bool,
}

impl Head {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Failure>> {
        while let Poll::Ready(event) = self.process.poll_next(cx) {
            match event {
                Event::Output(bytes) => {
                    self.written.extend_from_slice(&bytes);
                    match header::parse(&mut self.written) {
                        Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                        Ok(None) if self.written.len() <= MAX_HEADER => {}
                        Ok(None) => return Poll::Ready(Err(bad("its header is longer than 64 KiB"))),
                        Err(reason) => return Poll::Ready(Err(bad(&reason))),
                    }
                }
                Event::OutputEnd => self.ended = true,
                Event::Exited(exit) => self.exit = Some(exit),
                Event::UploadFailed(error) => return Poll::Ready(Err(Failure::new(error.problem()))),
                Event::Unreadable(error) => return Poll::Ready(Err(unreadable(&error))),
            }
            if let Some(exit) = self.exit
                && self.ended
            {
                let failure = if exit.code == 0 {
                    bad("it ended without a header")
                } else {
                    Failure::exit(exit)
                };
                return Poll::Ready(Err(failure));
            }
        }
        let fed = self.process.fed();
        self.silence.poll(fed, cx).map(|()| Err(Failure::timeout()))
    }
}

fn bad(reason: &str) -> Failure {
    let internal = format!("the script's answer is not CGI (RFC 3875, section 6): {reason}");
    Failure::new(Problem::new(ProblemCode::BadResponse).internal(internal))
}
