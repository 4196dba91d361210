//! One invocation while it runs: its lease, and the record that is kept whichever way it ends.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use jiff::Timestamp;
use skep_dispatch::{Fate, Lease};
use skep_engine::Exit;
use skep_model::{
    Ending, EndingKind, InvocationId, Journal, LogEntry, LogLine, LogStream, Phases, Problem, ProblemCode,
    Trigger,
};
use tokio::time::Instant;

use crate::account::Account;
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

    /// It took longer than `skep.timeout` allows, or was silent for as long.
    pub(crate) fn timeout() -> Self {
        let internal = "ended by skep.timeout: it took longer, or was silent for longer, than that allows";
        Self::new(Problem::new(ProblemCode::Timeout).internal(internal))
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
/// It goes from hand to hand on the way of every request, so it is a pointer.
pub(crate) struct Run(Box<Begun>);

struct Begun {
    reporting: Arc<Reporting>,
    account: Account,
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
        Self(Box::new(Begun {
            reporting,
            account: Account::of(invocation),
            report: Some(std::mem::replace(&mut invocation.report, Report::Journal)),
            announced: false,
            lease: None,
            handed: Instant::now(),
            ended: false,
        }))
    }

    pub(crate) fn id(&self) -> InvocationId {
        self.0.account.id
    }

    /// Whether nobody waits for the answer.
    pub(crate) fn is_background(&self) -> bool {
        self.0.account.trigger == Trigger::Async
    }

    /// What its labels say.
    pub(crate) fn settings(&self) -> &skep_model::Settings {
        &self.0.account.function.settings
    }

    /// How long the function may take, and may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.account.function.settings.timeout
    }

    /// Where the time went when there is no lease to tell.
    pub(crate) fn waited(&mut self, phases: Phases) {
        self.0.account.phases = phases;
    }

    /// An instance is there: from now on its time counts.
    pub(crate) fn leased(&mut self, lease: Lease) {
        let begun = &mut self.0;
        begun.account.function = lease.function().clone();
        begun.account.phases = lease.phases();
        begun.account.started = Some(Timestamp::now());
        begun.account.instance = Some(lease.instance().id());
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
            begun.reporting.journal.record(begun.account.record(None));
        }
    }

    /// The head of the response is known: signs it, and the handler's phase ends.
    pub(crate) fn head(&mut self, response: &mut Response<Body>) {
        let begun = &mut self.0;
        begun.account.phases.handler = Some(begun.handed.elapsed());
        sign(response.headers_mut(), begun.account.id, &begun.account.phases);
    }

    /// Ended with a complete response of this status.
    pub(crate) fn complete(mut self, status: StatusCode, exit: Option<Exit>, fate: Fate) {
        let kind = match exit {
            Some(exit) if exit.code != 0 => EndingKind::ExitCode,
            _ if status.is_server_error() => EndingKind::ServerError,
            _ => EndingKind::Completed,
        };
        self.0.end(Ending {
            exit_code: exit.map(|exit| exit.code),
            detail: exit.filter(|exit| exit.code != 0).map(describe),
            ..Ending::of(kind).answered(status)
        });
        if let Some(lease) = self.0.lease.take() {
            lease.finish(fate);
        }
    }

    /// Failed before the head: the caller is told why.
    pub(crate) fn fail(mut self, failure: Failure) -> Response<Body> {
        let begun = &mut self.0;
        let mut response = problem_response(&failure.problem, Some(begun.account.id));
        if begun.lease.is_some() {
            begun.account.phases.handler = Some(begun.handed.elapsed());
        }
        sign(response.headers_mut(), begun.account.id, &begun.account.phases);
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
        let account = &self.account;
        let name = &account.function.name;
        self.reporting
            .metrics
            .ended(name, account.trigger, &ending, &account.phases);
        match self.report.take() {
            Some(Report::To(sender)) => {
                // Whoever asked may have been shut down; then the invocation is repeated later.
                let _ = sender.send(account.record(Some(ending)));
            }
            Some(Report::Unstarted(sender)) if account.started.is_none() => {
                // Whoever went away keeps one of its own.
                let _ = sender.send(account.record(Some(ending)));
            }
            _ if self.announced || self.reporting.journal.admits(name, ending.status()) => {
                self.reporting.journal.record(account.record(Some(ending)));
            }
            _ => {}
        }
    }

    /// What went wrong is also said in the invocation's log, where people look first.
    fn remark(&self, ending: &Ending) {
        let (Some(instance), Some(detail)) = (self.account.instance, &ending.detail) else {
            return;
        };
        self.reporting.journal.log(LogEntry {
            function: self.account.function.name.clone(),
            instance,
            invocation: Some(self.account.id),
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
        self.end(Ending::of(EndingKind::ClientGone));
    }
}

fn ending(failure: Failure, status: StatusCode) -> Ending {
    let Failure { kind, problem, exit } = failure;
    Ending {
        kind,
        problem: (kind == EndingKind::Problem).then_some(problem.code),
        exit_code: exit.map(|exit| exit.code).or(problem.exit_code),
        ..Ending::problem(&problem).answered(status)
    }
}
