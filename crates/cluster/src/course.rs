//! One invocation's course as the gateway sees it. Its record stays with the node that ran it; the gateway keeps one only
//! where no node has it, and hands one to whoever keeps an asynchronous one.

use std::sync::Arc;

use http::{Response, StatusCode};
use jiff::Timestamp;
use skep_invoke::{Account, Body, Invocation, Report, problem_response, sign};
use skep_model::{Ending, EndingKind, InvocationId, Phases, Problem, ProblemCode, Record};
use skep_wire::Outcome;

use crate::pool::Placement;
use crate::shared::Shared;

/// An invocation that was begun and has not ended. Dropping it means that its caller went away.
pub(crate) struct Course(Box<Begun>);

struct Begun {
    shared: Arc<Shared>,
    account: Account,
    report: Option<Report>,
    /// The node that it was sent to.
    node: Option<Arc<str>>,
    /// The revision that ran, where its node said it.
    revision: Option<String>,
    /// Whether a node keeps its record.
    kept_elsewhere: bool,
    ended: bool,
}

impl Course {
    pub(crate) fn begin(shared: Arc<Shared>, invocation: &mut Invocation) -> Self {
        shared.metrics.begun();
        Self(Box::new(Begun {
            shared,
            account: Account::of(invocation),
            report: Some(std::mem::replace(&mut invocation.report, Report::Journal)),
            node: None,
            revision: None,
            kept_elsewhere: false,
            ended: false,
        }))
    }

    pub(crate) fn id(&self) -> InvocationId {
        self.0.account.id
    }

    pub(crate) fn phases(&mut self) -> &mut Phases {
        &mut self.0.account.phases
    }

    /// It is on its way to a node, and may be begun there from now on.
    pub(crate) fn sent(&mut self, placement: &Placement) {
        self.0.node = Some(Arc::clone(&placement.hostname));
    }

    /// Nothing of it was begun there.
    pub(crate) fn refused(&mut self) {
        self.0.node = None;
    }

    /// An agent answered.
    pub(crate) fn answered(&mut self) {
        self.0.kept_elsewhere = true;
        self.0.account.started.get_or_insert_with(Timestamp::now);
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
                begun.account.instance = outcome.instance;
                begun.account.started = outcome.started.or(begun.account.started);
                outcome.ending
            }
            None => {
                let kind = match problem {
                    Some(ProblemCode::ExitCode) => EndingKind::ExitCode,
                    Some(_) => EndingKind::Problem,
                    None if status.is_server_error() => EndingKind::ServerError,
                    None => EndingKind::Completed,
                };
                Ending {
                    problem,
                    ..Ending::of(kind).answered(status)
                }
            }
        };
        begun.end(ending);
    }

    /// Failed before the head: the caller is told why.
    pub(crate) fn fail(mut self, problem: &Problem) -> Response<Body> {
        let begun = &mut self.0;
        let mut response = problem_response(problem, Some(begun.account.id));
        sign(response.headers_mut(), begun.account.id, &begun.account.phases);
        begun.end(Ending::problem(problem).answered(response.status()));
        response
    }

    /// Failed after the head, which said `status`.
    pub(crate) fn cut(mut self, problem: &Problem, status: StatusCode) {
        self.0.end(Ending::problem(problem).answered(status));
    }
}

impl Begun {
    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let account = &self.account;
        let name = &account.function.name;
        self.shared
            .metrics
            .ended(name, account.trigger, &ending, &account.phases);
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
        let mut record = self.account.record(Some(ending));
        record.revision = self.revision.clone().or(record.revision);
        record.node = self.node.as_deref().map(str::to_owned);
        record
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.end(Ending::of(EndingKind::ClientGone));
    }
}
