//! One invocation's course as the gateway sees it. Its record stays with the node that ran it; the gateway keeps one only
//! where no node has it, and hands one to whoever keeps an asynchronous one.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use skep_invoke::{Body, Invocation, Report, problem_response, sign};
use skep_model::{
    Ending, EndingKind, Function, InstanceId, InvocationId, Phases, Problem, ProblemCode, Record, Status,
    Trigger,
};
use skep_wire::Outcome;

use crate::shared::Shared;

/// An invocation that was begun and has not ended. Dropping it means that its caller went away.
pub(crate) struct Course(Box<Begun>);

struct Begun {
    shared: Arc<Shared>,
    function: Arc<Function>,
    id: InvocationId,
    parent: Option<InvocationId>,
    trigger: Trigger,
    method: Method,
    path: Option<PathAndQuery>,
    received: Timestamp,
    attempts: u32,
    report: Option<Report>,
    phases: Phases,
    started: Option<Timestamp>,
    revision: Option<String>,
    instance: Option<InstanceId>,
    /// Whether a node keeps its record.
    kept_elsewhere: bool,
    ended: bool,
}

impl Course {
    pub(crate) fn begin(shared: Arc<Shared>, invocation: &mut Invocation) -> Self {
        shared.metrics.begun();
        Self(Box::new(Begun {
            shared,
            function: invocation.function.clone(),
            id: invocation.id,
            parent: invocation.parent,
            trigger: invocation.trigger,
            method: invocation.request.method().clone(),
            path: invocation.request.uri().path_and_query().cloned(),
            received: invocation.received,
            attempts: invocation.attempts,
            report: Some(std::mem::replace(&mut invocation.report, Report::Journal)),
            phases: Phases::default(),
            started: None,
            revision: None,
            instance: None,
            kept_elsewhere: false,
            ended: false,
        }))
    }

    pub(crate) fn id(&self) -> InvocationId {
        self.0.id
    }

    pub(crate) fn phases(&mut self) -> &mut Phases {
        &mut self.0.phases
    }

    /// An agent answered.
    pub(crate) fn answered(&mut self) {
        self.0.kept_elsewhere = true;
        self.0.started.get_or_insert_with(Timestamp::now);
    }

    /// It ended as its node says; without that, as the answer looks.
    pub(crate) fn complete(
        mut self,
        status: StatusCode,
        problem: Option<ProblemCode>,
        outcome: Option<Outcome>,
    ) {
        let begun = &mut self.0;
        let ending = match outcome {
            Some(outcome) => {
                begun.revision = outcome.revision;
                begun.instance = outcome.instance;
                begun.started = outcome.started.or(begun.started);
                outcome.ending
            }
            None => Ending {
                kind: match problem {
                    Some(ProblemCode::ExitCode) => EndingKind::ExitCode,
                    Some(_) => EndingKind::Problem,
                    None if status.is_server_error() => EndingKind::ServerError,
                    None => EndingKind::Completed,
                },
                problem,
                exit_code: None,
                http_status: Some(status.as_u16()),
                detail: None,
            },
        };
        begun.end(ending);
    }

    /// Failed before the head: the caller is told why.
    pub(crate) fn fail(mut self, problem: &Problem) -> Response<Body> {
        let begun = &mut self.0;
        let mut response = problem_response(problem, Some(begun.id));
        sign(response.headers_mut(), begun.id, &begun.phases);
        begun.end(ending(problem, response.status()));
        response
    }

    /// Failed after the head, which said `status`.
    pub(crate) fn cut(mut self, problem: &Problem, status: StatusCode) {
        self.0.end(ending(problem, status));
    }
}

impl Begun {
    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let name = &self.function.name;
        self.shared
            .metrics
            .ended(name, self.trigger, &ending, &self.phases);
        let journal = &self.shared.journal;
        match self.report.take() {
            Some(Report::To(sender) | Report::Unstarted(sender)) => {
                // Whoever asked may have been shut down; then the invocation is repeated later.
                let _ = sender.send(self.record(ending));
            }
            _ if !self.kept_elsewhere && journal.admits(name, ending.status()) => {
                journal.record(self.record(ending));
            }
            _ => {}
        }
    }

    fn record(&self, ending: Ending) -> Record {
        Record {
            id: self.id,
            function: self.function.name.to_string(),
            revision: self
                .revision
                .clone()
                .or(self.started.map(|_| self.function.revision.to_string())),
            parent: self.parent,
            trigger: self.trigger,
            status: if ending.status() == Status::Succeeded {
                Status::Succeeded
            } else {
                Status::Failed
            },
            method: self.method.to_string(),
            path: self.path.as_ref().map_or("/", PathAndQuery::as_str).to_owned(),
            received: self.received,
            started: self.started,
            ended: Some(Timestamp::now()),
            instance: self.instance,
            phases: self.phases,
            attempts: self.attempts,
            ending: Some(ending),
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.end(Ending {
            kind: EndingKind::ClientGone,
            problem: None,
            exit_code: None,
            http_status: None,
            detail: None,
        });
    }
}

fn ending(problem: &Problem, status: StatusCode) -> Ending {
    Ending {
        kind: EndingKind::Problem,
        problem: Some(problem.code),
        exit_code: problem.exit_code,
        http_status: Some(status.as_u16()),
        detail: problem.internal.clone().or_else(|| problem.detail.clone()),
    }
}
