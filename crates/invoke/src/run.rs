//! One invocation while it runs: its lease, and the record that is kept whichever way it ends.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use jiff::Timestamp;
use skep_dispatch::{Fate, Lease};
use skep_engine::Exit;
use skep_model::{
    Ending, EndingKind, Function, InvocationId, Journal, LogEntry, LogLine, LogStream, Problem, ProblemCode,
    Record, Status, Trigger,
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
pub(crate) struct Run {
    reporting: Arc<Reporting>,
    function: Arc<Function>,
    record: Record,
    report: Option<Report>,
    /// Whether its record is kept already, which then must not go on saying that it runs.
    announced: bool,
    lease: Option<Lease>,
    handed: Instant,
    ended: bool,
}

impl Run {
    pub(crate) fn begin(reporting: Arc<Reporting>, invocation: &mut Invocation) -> Self {
        reporting.metrics.begun();
        let request = &invocation.request;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let record = Record {
            id: invocation.id,
            function: invocation.function.name.to_string(),
            revision: None,
            parent: invocation.parent,
            trigger: invocation.trigger,
            status: Status::Running,
            method: request.method().to_string(),
            path: path.to_owned(),
            received: invocation.received,
            started: None,
            ended: None,
            instance: None,
            phases: skep_model::Phases::default(),
            attempts: invocation.attempts,
            ending: None,
        };
        let report = std::mem::replace(&mut invocation.report, Report::Journal);
        Self {
            reporting,
            function: invocation.function.clone(),
            record,
            report: Some(report),
            announced: false,
            lease: None,
            handed: Instant::now(),
            ended: false,
        }
    }

    pub(crate) fn id(&self) -> InvocationId {
        self.record.id
    }

    /// Whether nobody waits for the answer.
    pub(crate) fn is_background(&self) -> bool {
        self.record.trigger == Trigger::Async
    }

    /// What its labels say.
    pub(crate) fn settings(&self) -> &skep_model::Settings {
        &self.function.settings
    }

    /// How long the function may take, and may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        self.function.settings.timeout
    }

    /// Where the time went when there is no lease to tell.
    pub(crate) fn waited(&mut self, phases: skep_model::Phases) {
        self.record.phases = phases;
    }

    /// An instance is there: from now on its time counts.
    pub(crate) fn leased(&mut self, lease: Lease) {
        self.function = lease.function().clone();
        self.record.revision = Some(self.function.revision.to_string());
        self.record.phases = lease.phases();
        self.record.started = Some(Timestamp::now());
        self.record.instance = Some(lease.instance().id());
        self.lease = Some(lease);
        self.handed = Instant::now();
    }

    pub(crate) fn lease(&mut self) -> Option<&mut Lease> {
        self.lease.as_mut()
    }

    /// Whether a record of the running invocation is worth one of its own: a long one is looked for while it runs.
    pub(crate) fn announce(&mut self) {
        if matches!(self.report, Some(Report::Journal)) {
            self.announced = true;
            self.reporting.journal.record(self.record.clone());
        }
    }

    /// The head of the response is known: signs it, and the handler's phase ends.
    pub(crate) fn head(&mut self, response: &mut Response<Body>) {
        self.record.phases.handler = Some(self.handed.elapsed());
        sign(response.headers_mut(), self.record.id, &self.record.phases);
    }

    /// Ended with a complete response of this status.
    pub(crate) fn complete(mut self, status: StatusCode, exit: Option<Exit>, fate: Fate) {
        let kind = match exit {
            Some(exit) if exit.code != 0 => EndingKind::ExitCode,
            _ if status.is_server_error() => EndingKind::ServerError,
            _ => EndingKind::Completed,
        };
        self.end(Ending {
            kind,
            problem: None,
            exit_code: exit.map(|exit| exit.code),
            http_status: Some(status.as_u16()),
            detail: exit.filter(|exit| exit.code != 0).map(describe),
        });
        if let Some(lease) = self.lease.take() {
            lease.finish(fate);
        }
    }

    /// Failed before the head: the caller is told why.
    pub(crate) fn fail(mut self, failure: Failure) -> Response<Body> {
        let mut response = problem_response(&failure.problem, Some(self.record.id));
        if self.lease.is_some() {
            self.record.phases.handler = Some(self.handed.elapsed());
        }
        sign(response.headers_mut(), self.record.id, &self.record.phases);
        self.end(ending(failure, response.status()));
        response
    }

    /// Failed after the head, which said `status`: the body is cut.
    pub(crate) fn cut(mut self, failure: Failure, status: StatusCode) {
        self.end(ending(failure, status));
    }

    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.remark(&ending);
        self.record.ended = Some(Timestamp::now());
        self.record.status = ending.status();
        self.record.ending = Some(ending);
        self.reporting.metrics.ended(&self.record);
        match self.report.take() {
            Some(Report::To(sender)) => {
                // Whoever asked may have been shut down; then the invocation is repeated later.
                let _ = sender.send(self.record.clone());
            }
            _ => self.keep(),
        }
    }

    fn keep(&self) {
        if self.announced {
            self.reporting.journal.record(self.record.clone());
        } else {
            self.reporting.journal.sample(&self.record);
        }
    }

    /// What went wrong is also said in the invocation's log, where people look first.
    fn remark(&self, ending: &Ending) {
        let (Some(instance), Some(detail)) = (self.record.instance, &ending.detail) else {
            return;
        };
        self.reporting.journal.log(LogEntry {
            function: self.function.name.clone(),
            instance,
            invocation: Some(self.record.id),
            line: LogLine {
                time: Timestamp::now(),
                stream: LogStream::Skep,
                text: detail.clone().into_bytes(),
            },
        });
    }
}

impl Drop for Run {
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
