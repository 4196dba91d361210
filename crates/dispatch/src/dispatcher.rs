//! The dispatcher, as the rest of Skep uses it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use skep_engine::Engine;
use skep_model::{Function, InstanceId, InvocationId, Journal, Phases, Problem, ProblemCode};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::instances;
use crate::lease::Lease;
use crate::pool::CallerKey;
use crate::shared::{Shared, Waiting};
use crate::snapshot::{InstanceView, Snapshot};
use crate::work::{Fate, Refusal, Work};

/// How often an instance that can't be thawed is replaced for one caller.
const ATTEMPTS: usize = 3;
/// How long the last lines of removed instances are waited for.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Gives callers instances. Clones are the same dispatcher.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

/// A caller in the queue leaves it when it is dropped.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    key: CallerKey,
    answered: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let key = self.key;
            self.shared.apply(|state, now| {
                state.waiting.remove(&key);
                state.pool.leave(key, now);
            });
        }
    }
}

impl Dispatcher {
    /// A dispatcher with nothing in force yet. Must be called within a tokio runtime.
    pub fn new(config: Config, engine: Arc<dyn Engine>, journal: Arc<dyn Journal>) -> Self {
        Self {
            shared: Shared::start(config, engine, journal),
        }
    }

    /// Says what is in force now. New work runs on it, callers who wait too; instances of older revisions end
    /// after their work.
    pub fn set_functions(&self, functions: Vec<Arc<Function>>) {
        self.shared
            .apply(|state, now| state.pool.set_functions(functions, now));
    }

    /// An instance for a caller who need not wait for one, which most callers of a busy function need not.
    pub fn at_once(&self, function: &Arc<Function>, work: &Work) -> Option<Lease> {
        let mut lease = self.shared.at_once(function, work)?;
        lease.begin();
        Some(lease)
    }

    /// Waits for an instance of the function, in its newest revision. Dropping the future leaves the queue, and
    /// gives up a launch that was for this caller alone.
    ///
    /// # Errors
    /// Why there is none, and where the time went.
    pub async fn acquire(&self, function: &Arc<Function>, work: Work) -> Result<Lease, Refusal> {
        for _ in 0..ATTEMPTS {
            let (mut lease, thaw) = self.wait(function, work.clone()).await?;
            if thaw && let Err(error) = instances::thaw(&lease.live).await {
                tracing::warn!(function = %function.name, instance = %lease.instance().id(), %error, "can't thaw");
                lease.begun = true;
                lease.finish(Fate::Spent);
                if error.kind() == std::io::ErrorKind::TimedOut {
                    break;
                }
                continue;
            }
            lease.begin();
            return Ok(lease);
        }
        let problem = Problem::new(ProblemCode::EngineUnavailable).internal("idle instances can't be thawed");
        Err(Refusal {
            problem,
            phases: Phases::default(),
        })
    }

    async fn wait(&self, function: &Arc<Function>, work: Work) -> Result<(Lease, bool), Refusal> {
        let (answer, answered) = oneshot::channel();
        let key = self.shared.apply(|state, now| {
            let (stdio, background) = (work.stdio, work.background);
            let key = state.pool.arrive(function, stdio, background, now);
            state.waiting.insert(key, Waiting { work, answer });
            key
        });
        let mut place = Place {
            shared: &self.shared,
            key,
            answered: false,
        };
        let answer = answered.await;
        place.answered = true;
        match answer {
            Ok(answer) => answer,
            Err(_) => Err(Refusal {
                problem: Problem::new(ProblemCode::Internal),
                phases: Phases::default(),
            }),
        }
    }

    /// Waits until every launch is over of an instance, and for an invocation if it is for one alone, of which this
    /// holds. Its process may call others before the engine has said where it is; [`Dispatcher::invocations_at`] knows
    /// afterwards.
    pub async fn launched(&self, of: impl Fn(InstanceId, Option<InvocationId>) -> bool) {
        let launches = {
            let state = self.shared.lock();
            let begun = state.begun.values();
            let sought = begun.filter(|begun| of(begun.id, begun.invocation));
            sought.map(|begun| begun.over.clone()).collect::<Vec<_>>()
        };
        for over in launches {
            over.cancelled().await;
        }
    }

    /// The invocations that run now in instances with this address.
    pub fn invocations_at(&self, address: IpAddr) -> Vec<InvocationId> {
        self.shared.invocations_at(address)
    }

    /// The invocations that run now in one instance.
    pub fn invocations_in(&self, instance: InstanceId) -> Vec<InvocationId> {
        let state = self.shared.lock();
        let begun = state.begun.iter().find(|(_, begun)| begun.id == instance);
        let live = begun.and_then(|(key, _)| state.live.get(key));
        live.map(|live| live.invocations().clone()).unwrap_or_default()
    }

    /// A picture of the node.
    pub fn snapshot(&self) -> Snapshot {
        let now = tokio::time::Instant::now().into_std();
        let state = self.shared.lock();
        let ids: HashMap<_, _> = state.begun.iter().map(|(key, begun)| (*key, begun.id)).collect();
        let view = |seen: crate::pool::Seen| {
            let live = state.live.get(&seen.key);
            Some(InstanceView {
                id: ids.get(&seen.key).copied()?,
                function: seen.function,
                revision: seen.revision,
                state: seen.state,
                invocations: live.map(|live| live.invocations().clone()).unwrap_or_default(),
                served: seen.served,
                age: seen.age,
                locator: live.map(|live| live.instance.locator()),
                port: live.map(|live| live.instance.port()),
                memory: seen.memory,
            })
        };
        Snapshot {
            instances: state.pool.instances(now).into_iter().filter_map(view).collect(),
            functions: state.pool.functions(),
            memory_used: state.pool.memory_used(),
            memory_budget: self.shared.config.memory_budget,
            totals: state.pool.totals(),
            draining: state.pool.draining(),
        }
    }

    /// Takes no new work; returns when every caller was answered, every lease has ended and every instance is
    /// removed.
    pub async fn drain(&self) {
        self.shared.apply(|state, now| state.pool.begin_drain(now));
        self.emptied().await;
    }

    /// Ends and removes everything at once, whatever it is doing.
    pub async fn end_all(&self) {
        self.shared.apply(|state, _| state.pool.end_all());
        self.emptied().await;
    }

    async fn emptied(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            if self.shared.lock().pool.is_empty() {
                break;
            }
            emptied.await;
        }
        self.shared.tasks.close();
        // What the last instances wrote is on its way still; an engine that keeps a log open doesn't hold us up.
        let _ = tokio::time::timeout(LAST_LINES, self.shared.tasks.wait()).await;
    }
}
