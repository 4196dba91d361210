//! One invocation while it runs: its lease, and the record that is kept whichever way it ends.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use skep_dispatch::{Fate, Lease};
use skep_engine::Exit;
use skep_model::{
    Ending, EndingKind, Function, InstanceId, InvocationId, Journal, LogEntry, LogLine, LogStream, Phases,
    Problem, ProblemCode, Record, Status, Trigger,
};
use tokio::time::Instant;

use crate::body::Body;
use crate::invocation::{Invocation, Report};
use crate::metrics::Metrics;
use crate::response::{problem_response, sign};

/// What every run needs to report.
pub(crate) struct Reporting {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) metrics: Metrics,
}

/// Why an invocation failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: EndingKind,
    pub(crate) problem: Problem,
    pub(crate) exit: Option<Exit>,
}

impl Failure {
    pub(crate) fn new(problem: Problem) -> Self {
        Self {
            kind: EndingKind::Problem,
            problem,
            exit: None,
        }
    }

    /// The command ended otherwise than with 0.
    pub(crate) fn exit(exit: Exit) -> Self {
        let problem = Problem::new(ProblemCode::ExitCode).detail(describe(exit));
        Self {
            kind: EndingKind::ExitCode,
            problem,
            exit: Some(exit),
        }
    }
}

/// What an exit means, in words.
pub(crate) fn describe(exit: Exit) -> String {
    if exit.out_of_memory {
        "The function ran out of memory.".to_owned()
    } else {
        format!("The function exited with code {}.", exit.code)
    }
}

/// An invocation that was begun and has not ended. Dropping it means that its caller went away: the record says
/// so, and the instance is given up with the lease.
///
/// It goes from hand to hand on the way of every request, so it is a pointer. The record of most runs is never made:
/// it is written out only where somebody gets it.
pub(crate) struct Run(Box<Begun>);

struct Begun {
    reporting: Arc<Reporting>,
    function: Arc<Function>,
    id: InvocationId,
    parent: Option<InvocationId>,
    trigger: Trigger,
    method: Method,
    path: Option<PathAndQuery>,
    received: Timestamp,
    /// When it had its instance, of the function as that has it.
    started: Option<Timestamp>,
    phases: Phases,
    attempts: u32,
    report: Option<Report>,
    /// Whether its record is kept already, which then must not go on saying that it runs.
    announced: bool,
    instance: Option<InstanceId>,
    lease: Option<Lease>,
    handed: Instant,
    ended: bool,
}

impl Run {
    pub(crate) fn begin(reporting: Arc<Reporting>, invocation: &mut Invocation) -> Self {
        reporting.metrics.begun();
        let request = &invocation.request;
        Self(Box::new(Begun {
            reporting,
            function: invocation.function.clone(),
            id: invocation.id,
            parent: invocation.parent,
            trigger: invocation.trigger,
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            received: invocation.received,
            started: None,
            phases: Phases::default(),
            attempts: invocation.attempts,
            report: Some(std::mem::replace(&mut invocation.report, Report::Journal)),
            announced: false,
            instance: None,
            lease: None,
            handed: Instant::now(),
            ended: false,
        }))
    }

    pub(crate) fn id(&self) -> InvocationId {
        self.0.id
    }

    /// Whether nobody waits for the answer.
    pub(crate) fn is_background(&self) -> bool {
        self.0.trigger == Trigger::Async
    }

    /// What its labels say.
    pub(crate) fn settings(&self) -> &skep_model::Settings {
        &self.0.function.settings
    }

    /// How long the function may take, and may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.function.settings.timeout
    }

    /// Where the time went when there is no lease to tell.
    pub(crate) fn waited(&mut self, phases: Phases) {
        self.0.phases = phases;
    }

    /// An instance is there: from now on its time counts.
    pub(crate) fn leased(&mut self, lease: Lease) {
        let begun = &mut self.0;
        begun.function = lease.function().clone();
        begun.phases = lease.phases();
        begun.started = Some(Timestamp::now());
        begun.instance = Some(lease.instance().id());
        begun.lease = Some(lease);
        begun.handed = Instant::now();
    }

    pub(crate) fn lease(&mut self) -> Option<&mut Lease> {
        self.0.lease.as_mut()
    }

    /// Whether a record of the running invocation is worth one of its own: a long one is looked for while it runs.
    pub(crate) fn announce(&mut self) {
        let begun = &mut self.0;
        if matches!(begun.report, Some(Report::Journal | Report::Unstarted(_))) {
            begun.announced = true;
            begun.reporting.journal.record(begun.record(None));
        }
    }

    /// The head of the response is known: signs it, and the handler's phase ends.
    pub(crate) fn head(&mut self, response: &mut Response<Body>) {
        let begun = &mut self.0;
        begun.phases.handler = Some(begun.handed.elapsed());
        sign(response.headers_mut(), begun.id, &begun.phases);
    }

    /// Ended with a complete response of this status.
    pub(crate) fn complete(mut self, status: StatusCode, exit: Option<Exit>, fate: Fate) {
        let kind = match exit {
            Some(exit) if exit.code != 0 => EndingKind::ExitCode,
            _ if status.is_server_error() => EndingKind::ServerError,
            _ => EndingKind::Completed,
        };
        self.0.end(Ending {
            kind,
            problem: None,
            exit_code: exit.map(|exit| exit.code),
            http_status: Some(status.as_u16()),
            detail: exit.filter(|exit| exit.code != 0).map(describe),
        });
        if let Some(lease) = self.0.lease.take() {
            lease.finish(fate);
        }
    }

    /// Failed before the head: the caller is told why.
    pub(crate) fn fail(mut self, failure: Failure) -> Response<Body> {
        let begun = &mut self.0;
        let mut response = problem_response(&failure.problem, Some(begun.id));
        if begun.lease.is_some() {
            begun.phases.handler = Some(begun.handed.elapsed());
        }
        sign(response.headers_mut(), begun.id, &begun.phases);
        begun.end(ending(failure, response.status()));
        response
    }

    /// Failed after the head, which said `status`: the body is cut.
    pub(crate) fn cut(mut self, failure: Failure, status: StatusCode) {
        self.0.end(ending(failure, status));
    }
}

impl Begun {
    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.remark(&ending);
        let name = &self.function.name;
        self.reporting
            .metrics
            .ended(name, self.trigger, &ending, &self.phases);
        match self.report.take() {
            Some(Report::To(sender)) => {
                // Whoever asked may have been shut down; then the invocation is repeated later.
                let _ = sender.send(self.record(Some(ending)));
            }
            Some(Report::Unstarted(sender)) if self.started.is_none() => {
                // Whoever went away keeps one of its own.
                let _ = sender.send(self.record(Some(ending)));
            }
            _ if self.announced || self.reporting.journal.admits(name, ending.status()) => {
                self.reporting.journal.record(self.record(Some(ending)));
            }
            _ => {}
        }
    }

    /// What is known of it now.
    fn record(&self, ending: Option<Ending>) -> Record {
        Record {
            id: self.id,
            function: self.function.name.to_string(),
            revision: self.started.map(|_| self.function.revision.to_string()),
            parent: self.parent,
            trigger: self.trigger,
            status: ending.as_ref().map_or(Status::Running, Ending::status),
            method: self.method.to_string(),
            path: self.path.as_ref().map_or("/", PathAndQuery::as_str).to_owned(),
            received: self.received,
            started: self.started,
            ended: ending.as_ref().map(|_| Timestamp::now()),
            instance: self.instance,
            phases: self.phases,
            attempts: self.attempts,
            ending,
        }
    }

    /// What went wrong is also said in the invocation's log, where people look first.
    fn remark(&self, ending: &Ending) {
        let (Some(instance), Some(detail)) = (self.instance, &ending.detail) else {
            return;
        };
        self.reporting.journal.log(LogEntry {
            function: self.function.name.clone(),
            instance,
            invocation: Some(self.id),
            line: LogLine {
                time: Timestamp::now(),
                stream: LogStream::Skep,
                text: detail.clone().into_bytes(),
            },
        });
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

fn ending(failure: Failure, status: StatusCode) -> Ending {
    let Failure { kind, problem, exit } = failure;
    Ending {
        kind,
        problem: (kind == EndingKind::Problem).then_some(problem.code),
        exit_code: exit.map(|exit| exit.code).or(problem.exit_code),
        http_status: Some(status.as_u16()),
        detail: problem.internal.or(problem.detail),
    }
}
