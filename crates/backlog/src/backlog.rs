//! The reconciler. It is activated by a signal (new work, another catalogue, a run that ended) and by a period, and
//! each step looks at everything anew, so that a signal that was missed costs time and nothing else.
//!
//! What must always hold: an invocation is claimed only where it may run now; every claimed one gets a stored end
//! or goes back to its place; what this process leaves unfinished is found by the next.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use skep_catalogue::Catalogue;
use skep_model::Function;
use skep_store::{Queue, StoreError, Waiting};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Outcome, attempt};
use crate::metrics::{Metrics, Of};
use crate::plan::{Candidate, share};
use crate::runner::Runner;

/// What tells the time of day; another one in tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What can be chosen about the backlog.
#[derive(Clone)]
pub struct Config {
    /// How many accepted invocations run at once on this node; what each function's instances take at once bounds it as well.
    pub at_once: u64,
    /// How often to look without having been told.
    pub period: Duration,
    /// How long accepted work waits for a function that is gone before it fails as `function-removed`.
    pub absent_for: Duration,
    /// How long this process must have missed the function itself before that: a catalogue may still be filling.
    pub absent_here_for: Duration,
    /// What tells the time of day.
    pub clock: Clock,
}

impl Default for Config {
    /// 256 at once, every 5 s, 24 h, 1 min, the system's clock.
    fn default() -> Self {
        Self {
            at_once: 256,
            period: Duration::from_secs(5),
            absent_for: Duration::from_secs(24 * 3600),
            absent_here_for: Duration::from_secs(60),
            clock: Arc::new(Timestamp::now),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("at_once", &self.at_once)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// After a run could not be begun: how long the function's work is left alone, doubling from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How many invocations of a removed function one change ends.
const REMOVED_CHUNK: usize = 256;

/// What is known of a function's work between two steps.
#[derive(Debug, Default)]
struct Course {
    in_flight: u64,
    /// Set while runs can't be begun: when to try the next one, and how long the pause was.
    held: Option<(Instant, Duration)>,
    /// Since when this process misses the function.
    missed: Option<Instant>,
}

/// Runs the accepted invocations of one store.
pub struct Backlog {
    config: Config,
    store: Arc<dyn Queue>,
    catalogue: watch::Receiver<Arc<Catalogue>>,
    runner: Arc<dyn Runner>,
    metrics: Metrics,
    courses: HashMap<String, Course>,
    runs: JoinSet<(String, Outcome)>,
    /// Who was the first to get a place in the last step.
    last: Option<String>,
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog")
            .field("config", &self.config)
            .field("courses", &self.courses)
            .finish_non_exhaustive()
    }
}

impl Backlog {
    /// A backlog that runs the store's accepted work on the functions of the catalogue.
    pub fn new(
        config: Config,
        store: impl Into<Arc<dyn Queue>>,
        catalogue: watch::Receiver<Arc<Catalogue>>,
        runner: Arc<dyn Runner>,
    ) -> Self {
        Self {
            config,
            store: store.into(),
            catalogue,
            runner,
            metrics: Metrics::default(),
            courses: HashMap::new(),
            runs: JoinSet::new(),
            last: None,
        }
    }

    /// Adds the backlog's metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Works until `drain` is cancelled; then claims nothing more, and returns when what runs has ended and its
    /// ends are stored. Dropping the future instead gives up what runs; the next start repeats it.
    pub async fn run(mut self, drain: CancellationToken) {
        let mut work = self.store.work();
        let mut catalogue = self.catalogue.clone();
        while !drain.is_cancelled() {
            work.borrow_and_update();
            catalogue.borrow_and_update();
            let wake = self.step().await;
            tokio::select! {
                () = drain.cancelled() => {}
                changed = work.changed() => if changed.is_err() { break },
                // Without discovery nothing changes any more; what is in force stays.
                Ok(()) = catalogue.changed() => {}
                Some(run) = self.runs.join_next() => self.ended(run),
                () = sleep_until(wake) => {}
            }
        }
        while let Some(run) = self.runs.join_next().await {
            self.ended(run);
        }
    }

    /// Looks at all waiting work and takes one step; gives back when to look again at the latest.
    async fn step(&mut self) -> Instant {
        while let Some(run) = self.runs.try_join_next() {
            self.ended(run);
        }
        let (now, catalogue) = (Instant::now(), self.catalogue.borrow().clone());
        let mut wake = now + self.config.period;
        let mut candidates = Vec::new();
        let waiting = self.store.waiting();
        self.forget_idle(&waiting);
        for work in waiting {
            let name = work.function.clone();
            let result = match catalogue.function(&name) {
                Some(function) => {
                    self.present(&work, function, now, &mut wake, &mut candidates)
                        .await
                }
                None => self.absent(&work, now).await,
            };
            if let Err(error) = result {
                tracing::warn!(function = name, error = %error.with_sources(), "accepted work can't be looked after");
            }
        }
        let free = self.config.at_once.saturating_sub(self.runs.len() as u64);
        let shares = share(candidates, free, self.last.as_deref());
        self.last = shares
            .first()
            .map(|(function, _)| function.clone())
            .or(self.last.take());
        for (name, count) in shares {
            if let Some(function) = catalogue.function(&name)
                && let Err(error) = self.start(function, count).await
            {
                tracing::warn!(function = name, error = %error.with_sources(), "accepted work can't be claimed");
            }
        }
        self.metrics.running.set(self.runs.len() as i64);
        wake
    }

    /// A function in force: how much of its work may start.
    async fn present(
        &mut self,
        work: &Waiting,
        function: &Function,
        now: Instant,
        wake: &mut Instant,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), StoreError> {
        let course = self.courses.entry(work.function.clone()).or_default();
        course.missed = None;
        let room = match course.held {
            Some((until, _)) if until > now => {
                *wake = until.min(*wake);
                0
            }
            // After a refusal one goes ahead; the others follow when it was let in.
            Some(_) => 1_u64.saturating_sub(course.in_flight),
            None => at_once(function).saturating_sub(course.in_flight),
        };
        candidates.push(Candidate {
            function: work.function.clone(),
            queued: work.claimable,
            room,
        });
        if work.absent_since.is_some() {
            self.store.set_absent(&work.function, None).await?;
        }
        Ok(())
    }

    /// A function that is gone: its work waits for it, then fails.
    async fn absent(&mut self, work: &Waiting, now: Instant) -> Result<(), StoreError> {
        if work.queued + work.running == 0 {
            return self.store.set_absent(&work.function, None).await;
        }
        let time = (self.config.clock)();
        let missed = *self
            .courses
            .entry(work.function.clone())
            .or_default()
            .missed
            .get_or_insert(now);
        let Some(since) = work.absent_since else {
            return self.store.set_absent(&work.function, Some(time)).await;
        };
        let allowed = SignedDuration::try_from(self.config.absent_for).unwrap_or(SignedDuration::MAX);
        if time.duration_since(since) < allowed || now.duration_since(missed) < self.config.absent_here_for {
            return Ok(());
        }
        let mut left = work.claimable;
        while left > 0 {
            let ended = self
                .store
                .fail_removed(&work.function, time, REMOVED_CHUNK)
                .await?;
            if ended == 0 {
                break;
            }
            left = left.saturating_sub(ended);
        }
        tracing::warn!(
            function = work.function,
            count = work.queued,
            "accepted work ended: its function is gone"
        );
        self.store.set_absent(&work.function, None).await
    }

    /// Claims work of a function and starts its runs.
    async fn start(&mut self, function: &Arc<Function>, count: u64) -> Result<(), StoreError> {
        let name = function.name.as_str();
        for accepted in self.store.claim(name, count as usize).await? {
            self.courses.entry(name.to_owned()).or_default().in_flight += 1;
            let (store, runner) = (self.store.clone(), self.runner.clone());
            let (name, metrics) = (name.to_owned(), self.metrics.clone());
            let run = attempt(store, runner, function.clone(), accepted, metrics);
            self.runs.spawn(async move { (name, run.await) });
        }
        Ok(())
    }

    /// Takes note of a run that ended.
    fn ended(&mut self, run: Result<(String, Outcome), tokio::task::JoinError>) {
        let (function, outcome) = match run {
            Ok(run) => run,
            // Runs catch their own faults and are never aborted while this lives.
            Err(error) => return tracing::error!(%error, "a run of the backlog was lost"),
        };
        let course = self.courses.entry(function).or_default();
        course.in_flight = course.in_flight.saturating_sub(1);
        let (first, longest) = BACKOFF;
        course.held = match (outcome, course.held) {
            (Outcome::Ended, _) => None,
            // Those that were refused together count as one refusal.
            (Outcome::PutBack, Some((until, pause))) if until > Instant::now() => Some((until, pause)),
            (Outcome::PutBack, held) => {
                let pause = held.map_or(first, |(_, pause)| (pause * 2).min(longest));
                Some((Instant::now() + pause, pause))
            }
        };
    }

    /// Forgets functions without work, and shows how much waits for the others. `waiting` is sorted by name.
    fn forget_idle(&mut self, waiting: &[Waiting]) {
        let metrics = &self.metrics;
        self.courses.retain(|name, course| {
            let known = waiting.binary_search_by(|work| work.function.cmp(name)).is_ok();
            if !known {
                metrics.waiting.remove(&Of {
                    function: name.clone(),
                });
            }
            known || course.in_flight > 0
        });
        for work in waiting {
            let of = Of {
                function: work.function.clone(),
            };
            metrics.waiting.get_or_create(&of).set(work.queued as i64);
        }
    }
}

/// What all of a function's instances together take at once.
fn at_once(function: &Function) -> u64 {
    u64::from(function.settings.max) * u64::from(function.settings.concurrency)
}
