//! Whose a line of an instance's log is, and how much of it is kept.
//!
//! A line is given to an invocation only where that is certain. Of an instance that serves one invocation
//! everything is that one's, from its launch to its end; what it wrote before it had one waits for it. Of an
//! instance that is reused, a line is an invocation's if that was the only one in it when the line was written.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use skep_engine::OutputReceiver;
use skep_model::{FunctionName, InstanceId, InvocationId, Journal, LogEntry, LogLine};
use tokio_util::sync::CancellationToken;

use crate::allowance::{Allowance, Early};

/// Ended invocations that a reused instance's lines are still compared with: the pump may be a little behind.
const REMEMBERED: usize = 32;
/// Lines kept for telling the operator why an instance ended before it was ready.
const TAIL: usize = 5;
/// What belongs to no invocation may use the limit of one in each of these.
const WINDOW: Duration = Duration::from_secs(60);

/// Whom an instance serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Serves {
    /// One invocation, known already where the instance is launched for it alone.
    One(Option<InvocationId>),
    /// One after the other, or several at once.
    Many,
}

/// The log of one instance.
pub(crate) struct Attribution {
    journal: Arc<dyn Journal>,
    function: FunctionName,
    instance: InstanceId,
    limit: u64,
    inner: Mutex<Inner>,
    closed: CancellationToken,
}

struct Inner {
    owners: Owners,
    nobody: Allowance,
    window: Timestamp,
    tail: VecDeque<String>,
}

enum Owners {
    /// The instance serves one invocation.
    Sole {
        owner: Option<InvocationId>,
        allowance: Allowance,
        early: Early,
        /// Its last line was written, perhaps before anybody was given the instance.
        complete: bool,
    },
    /// The instance is reused.
    Spans {
        spans: VecDeque<Span>,
        /// How many of them have ended.
        ended: usize,
        forgotten: Option<Timestamp>,
    },
}

/// When an invocation was in the instance.
struct Span {
    invocation: InvocationId,
    begin: Timestamp,
    end: Option<Timestamp>,
    allowance: Allowance,
}

impl Attribution {
    /// The log of an instance that serves one invocation, whichever that will be, or many.
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        function: FunctionName,
        instance: InstanceId,
        limit: u64,
        serves: Serves,
    ) -> Self {
        let owners = match serves {
            Serves::One(owner) => Owners::Sole {
                owner,
                allowance: Allowance::default(),
                early: Early::default(),
                complete: false,
            },
            Serves::Many => Owners::Spans {
                spans: VecDeque::new(),
                ended: 0,
                forgotten: None,
            },
        };
        let inner = Inner {
            owners,
            nobody: Allowance::default(),
            window: Timestamp::now(),
            tail: VecDeque::new(),
        };
        let (inner, closed) = (Mutex::new(inner), CancellationToken::new());
        Self {
            journal,
            function,
            instance,
            limit,
            inner,
            closed,
        }
    }

    /// Takes every line until the instance's last, whether it is kept or not: an instance never waits for us.
    pub(crate) async fn pump(&self, mut output: OutputReceiver) {
        while let Some(line) = output.recv().await {
            self.take(line);
        }
        self.close();
    }

    /// Waits for the instance's last line.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// The last lines, for the operator.
    pub(crate) fn tail(&self) -> String {
        self.lock().tail.iter().cloned().collect::<Vec<_>>().join(" | ")
    }

    /// From now on this invocation is in the instance.
    pub(crate) fn begin(&self, invocation: InvocationId) {
        let mut guard = self.lock();
        match &mut guard.owners {
            Owners::Sole {
                owner,
                allowance,
                early,
                complete,
            } => {
                *owner = Some(invocation);
                for line in early.take() {
                    if allowance.admits(&line, self.limit) {
                        self.write(Some(invocation), line);
                    }
                }
                if *complete && let Some(remark) = allowance.remark(self.limit) {
                    self.write(Some(invocation), remark);
                }
            }
            Owners::Spans {
                spans,
                ended,
                forgotten,
            } => {
                let begin = Timestamp::now();
                spans.push_back(Span {
                    invocation,
                    begin,
                    end: None,
                    allowance: Allowance::default(),
                });
                forget(spans, ended, forgotten);
            }
        }
    }

    /// This invocation is no longer in the instance.
    pub(crate) fn end(&self, invocation: InvocationId) {
        let mut guard = self.lock();
        let Owners::Spans { spans, ended, .. } = &mut guard.owners else {
            return;
        };
        // Those that began last are the likeliest to run.
        if let Some(span) = spans
            .iter_mut()
            .rfind(|span| span.invocation == invocation && span.end.is_none())
        {
            span.end = Some(Timestamp::now());
            *ended += 1;
            if let Some(remark) = span.allowance.remark(self.limit) {
                self.write(Some(invocation), remark);
            }
        }
    }

    fn take(&self, line: LogLine) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        if inner.tail.len() == TAIL {
            inner.tail.pop_front();
        }
        let shown = &line.text[..line.text.len().min(200)];
        inner.tail.push_back(String::from_utf8_lossy(shown).into_owned());
        match &mut inner.owners {
            Owners::Sole {
                owner: None, early, ..
            } => early.push(line),
            Owners::Sole {
                owner: Some(owner),
                allowance,
                ..
            } => {
                if allowance.admits(&line, self.limit) {
                    self.write(Some(*owner), line);
                }
            }
            Owners::Spans { spans, forgotten, .. } => {
                let known = forgotten.is_none_or(|until| line.time > until);
                let mut inside = spans
                    .iter_mut()
                    .filter(|span| span.begin <= line.time && span.end.is_none_or(|end| line.time <= end));
                if let (true, Some(span), None) = (known, inside.next(), inside.next()) {
                    if span.allowance.admits(&line, self.limit) {
                        self.write(Some(span.invocation), line);
                    }
                    return;
                }
                self.take_nobodys(inner, line);
            }
        }
    }

    /// A line of which nobody can say whose it is; an instance that lives long may write many over the days.
    fn take_nobodys(&self, inner: &mut Inner, line: LogLine) {
        let now = Timestamp::now();
        if now.duration_since(inner.window).unsigned_abs() >= WINDOW {
            if let Some(remark) = inner.nobody.remark(self.limit) {
                self.write(None, remark);
            }
            inner.window = now;
            inner.nobody = Allowance::default();
        }
        if inner.nobody.admits(&line, self.limit) {
            self.write(None, line);
        }
    }

    /// After the last line: says what was dropped. What waits for an invocation goes on waiting: an instance may have
    /// ended before its caller could be told that it was made.
    fn close(&self) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        match &mut inner.owners {
            Owners::Sole {
                owner,
                allowance,
                complete,
                ..
            } => {
                *complete = true;
                if let Some(remark) = allowance.remark(self.limit) {
                    self.write(*owner, remark);
                }
            }
            Owners::Spans { spans, .. } => {
                for span in spans {
                    if let Some(remark) = span.allowance.remark(self.limit) {
                        self.write(Some(span.invocation), remark);
                    }
                }
            }
        }
        if let Some(remark) = inner.nobody.remark(self.limit) {
            self.write(None, remark);
        }
        self.closed.cancel();
    }

    /// Lets go of what waited for an invocation that never came.
    fn give_up(&self) {
        if let Owners::Sole { early, .. } = &mut self.lock().owners {
            for line in early.take() {
                self.write(None, line);
            }
        }
    }

    fn write(&self, invocation: Option<InvocationId>, line: LogLine) {
        let (function, instance) = (self.function.clone(), self.instance);
        self.journal.log(LogEntry {
            function,
            instance,
            invocation,
            line,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attribution {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Keeps the number of ended spans small; lines older than the last one forgotten are nobody's.
fn forget(spans: &mut VecDeque<Span>, ended: &mut usize, forgotten: &mut Option<Timestamp>) {
    while *ended > REMEMBERED {
        let Some(at) = spans.iter().position(|span| span.end.is_some()) else {
            return;
        };
        if let Some(span) = spans.remove(at) {
            *ended -= 1;
            *forgotten = (*forgotten).max(span.end);
        }
    }
}
