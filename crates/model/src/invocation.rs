//! What is known of an invocation: where it comes from, how far it got, how long each part took, how it ended.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, InvocationId};
use crate::problem::{Problem, ProblemCode};

/// How far an invocation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted, and waiting.
    Queued,
    /// Given to an instance, or waiting for one.
    Running,
    /// Ended as it should.
    Succeeded,
    /// Ended otherwise.
    Failed,
}

impl Status {
    /// The word that stands in JSON, in the database and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What asked for an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A request whose caller waits for the answer.
    Request,
    /// A request that was answered with 202 and runs by itself.
    Async,
}

/// The parts of an invocation's time, as `Server-Timing` names them (DESIGN 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waiting for a slot, for memory, for an instance.
    Queue,
    /// Making the sandbox: networks, mounts.
    Sandbox,
    /// Making the instance and starting its process.
    Start,
    /// From started to accepting work.
    Ready,
    /// From handing over the request to the head of the response.
    Handler,
}

impl Phase {
    /// Every phase, in the order in which they happen.
    pub const ALL: [Self; 5] = [
        Self::Queue,
        Self::Sandbox,
        Self::Start,
        Self::Ready,
        Self::Handler,
    ];

    /// The name used in headers, metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Sandbox => "sandbox",
            Self::Start => "start",
            Self::Ready => "ready",
            Self::Handler => "handler",
        }
    }
}

/// How long each phase took; a phase that did not happen for this invocation (a reused instance) is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the phase of its name")]
pub struct Phases {
    pub queue: Option<Duration>,
    pub sandbox: Option<Duration>,
    pub start: Option<Duration>,
    pub ready: Option<Duration>,
    pub handler: Option<Duration>,
}

impl Phases {
    /// The phases that happened, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
        Phase::ALL
            .into_iter()
            .filter_map(|phase| self.get(phase).map(|time| (phase, time)))
    }

    /// How long one phase took.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Queue => self.queue,
            Phase::Sandbox => self.sandbox,
            Phase::Start => self.start,
            Phase::Ready => self.ready,
            Phase::Handler => self.handler,
        }
    }
}

/// Why an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndingKind {
    /// The instance did its work: exit 0, or a complete HTTP response of any status below 500.
    Completed,
    /// The command exited with another code than 0, or was ended by a signal of its own making.
    ExitCode,
    /// A complete HTTP response with a status of 500 or more.
    ServerError,
    /// The caller went away before the end.
    ClientGone,
    /// Skep refused or gave up; `problem` says which way.
    Problem,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why.
    pub kind: EndingKind,
    /// Skep's own error, where that was the reason.
    pub problem: Option<ProblemCode>,
    /// The instance's exit code, where it ended with the invocation (128 + signal, as Docker counts).
    pub exit_code: Option<i64>,
    /// The status of the response that was sent (or stored).
    pub http_status: Option<u16>,
    /// What an operator should know: daemon messages, the path of what was missing. Never shown in public.
    pub detail: Option<String>,
}

impl Ending {
    /// An ending of which nothing is known but why.
    pub fn of(kind: EndingKind) -> Self {
        Self {
            kind,
            problem: None,
            exit_code: None,
            http_status: None,
            detail: None,
        }
    }

    /// Skep refused or gave up.
    pub fn problem(problem: &Problem) -> Self {
        Self {
            problem: Some(problem.code),
            exit_code: problem.exit_code,
            detail: problem.internal.clone().or_else(|| problem.detail.clone()),
            ..Self::of(EndingKind::Problem)
        }
    }

    /// It met a fault of Skep's own.
    pub fn fault(detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::problem(&Problem::new(ProblemCode::Internal))
        }
    }

    /// Its function is gone, and was not put back while accepted work waited for it.
    pub fn function_removed() -> Self {
        Self {
            detail: Some("the function was gone for as long as accepted work waits for one".to_owned()),
            ..Self::problem(&Problem::new(ProblemCode::FunctionRemoved))
        }
    }

    /// The same, with the status of the response that was sent.
    pub fn answered(self, status: StatusCode) -> Self {
        Self {
            http_status: Some(status.as_u16()),
            ..self
        }
    }

    /// The status that this ending means.
    pub fn status(&self) -> Status {
        match self.kind {
            EndingKind::Completed => Status::Succeeded,
            _ => Status::Failed,
        }
    }
}

/// Everything that is kept of an invocation beside its logs and bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: InvocationId,
    /// The function's name; kept as text, since the function may be gone.
    pub function: String,
    /// The revision that ran it, once that is known.
    pub revision: Option<String>,
    /// The invocation that caused it.
    pub parent: Option<InvocationId>,
    /// What asked for it.
    pub trigger: Trigger,
    /// How far it got.
    pub status: Status,
    /// The request's method (`POST`).
    pub method: String,
    /// The request's path and query as it reached the function.
    pub path: String,
    /// When it arrived.
    pub received: Timestamp,
    /// When an instance got it.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The instance that served it.
    pub instance: Option<InstanceId>,
    /// On a Swarm, the name of the node that ran it, where a gateway keeps the record.
    #[serde(default)]
    pub node: Option<String>,
    /// Where the time went.
    pub phases: Phases,
    /// How often it was begun: more than once only after a crash.
    pub attempts: u32,
    /// How it ended.
    pub ending: Option<Ending>,
}

impl Record {
    /// The record of what was accepted and waits to be begun.
    pub fn queued(
        id: InvocationId,
        function: String,
        trigger: Trigger,
        method: String,
        path: String,
        received: Timestamp,
    ) -> Self {
        Self {
            id,
            function,
            revision: None,
            parent: None,
            trigger,
            status: Status::Queued,
            method,
            path,
            received,
            started: None,
            ended: None,
            instance: None,
            node: None,
            phases: Phases::default(),
            attempts: 0,
            ending: None,
        }
    }

    /// The record of what has ended, as [`Record::ending`] says; one that doesn't say how has failed. It ended at `now`
    /// where no time is known.
    pub fn closed(mut self, now: Timestamp) -> Self {
        let status = self.ending.as_ref().map(Ending::status);
        self.status = status.unwrap_or(Status::Failed);
        self.ended = self.ended.or(Some(now));
        self
    }
}
