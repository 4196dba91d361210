//! What the backlog's tests share: functions, a runner that does as it is told, a backlog under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use skep_backlog::{Backlog, Config, Ran, Runner};
use skep_catalogue::Catalogue;
use skep_model::{Ending, EndingKind, Function, InvocationId, Namespace, ProblemCode, Record, Trigger};
use skep_store::{Accepted, Body, Key, NewInvocation, Request, Store, StoredResponse};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a run does when its turn comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Succeed,
    Fail,
    Refuse(ProblemCode),
    Panic,
    /// Waits for the gate, then succeeds.
    Wait,
}

/// Does as the test says, and tells it.
pub(crate) struct FakeRunner {
    acts: Mutex<HashMap<String, Vec<Act>>>,
    began: mpsc::UnboundedSender<(Accepted, Arc<Function>)>,
    pub(crate) gate: Notify,
}

impl Runner for FakeRunner {
    fn run(&self, function: Arc<Function>, accepted: Accepted) -> BoxFuture<'_, Ran> {
        // The acts of a function are used up from the front; the last one stays.
        let act = {
            let mut acts = self.acts.lock().unwrap();
            let acts = acts
                .entry(function.name.as_str().to_owned())
                .or_insert_with(|| vec![Act::Succeed]);
            if acts.len() > 1 { acts.remove(0) } else { acts[0] }
        };
        let _ = self.began.send((accepted.clone(), function));
        async move {
            let kind = match act {
                Act::Succeed => EndingKind::Completed,
                Act::Fail => EndingKind::ExitCode,
                Act::Refuse(_) => EndingKind::Problem,
                Act::Panic => panic!("the runner has a fault"),
                Act::Wait => {
                    self.gate.notified().await;
                    EndingKind::Completed
                }
            };
            let problem = if let Act::Refuse(problem) = act {
                Some(problem)
            } else {
                None
            };
            let mut record = accepted.record;
            record.ending = Some(Ending {
                problem,
                ..Ending::of(kind)
            });
            let body = Body::from(Bytes::from_static(b"the result"));
            let response = StoredResponse {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body,
            };
            Ran {
                record,
                response: problem.is_none().then_some(response),
            }
        }
        .boxed()
    }
}

/// A backlog under way, and everything around it.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) runner: Arc<FakeRunner>,
    pub(crate) began: mpsc::UnboundedReceiver<(Accepted, Arc<Function>)>,
    pub(crate) catalogue: watch::Sender<Arc<Catalogue>>,
    pub(crate) drain: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn config() -> Config {
    // The time of day follows the paused clock.
    let (start, began) = (Timestamp::now(), Instant::now());
    let clock = move || start + SignedDuration::try_from(began.elapsed()).unwrap();
    Config {
        clock: Arc::new(clock),
        ..Config::default()
    }
}

impl Fixture {
    pub(crate) async fn new(functions: &[Function], acts: &[(&str, &[Act])]) -> Self {
        Self::with(config(), functions, acts, async |_| {}).await
    }

    /// A backlog that finds what `before` left in the store.
    pub(crate) async fn with(
        config: Config,
        functions: &[Function],
        acts: &[(&str, &[Act])],
        before: impl AsyncFnOnce(&Store),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(skep_store::Config::in_directory(directory.path())).unwrap();
        before(&store).await;
        let acts = acts
            .iter()
            .map(|(name, acts)| ((*name).to_owned(), acts.to_vec()))
            .collect();
        let (sender, began) = mpsc::unbounded_channel();
        let runner = Arc::new(FakeRunner {
            acts: Mutex::new(acts),
            began: sender,
            gate: Notify::new(),
        });
        let catalogue = watch::Sender::new(catalogue(functions));
        let drain = CancellationToken::new();
        let backlog = Backlog::new(config, store.clone(), catalogue.subscribe(), runner.clone());
        let task = tokio::spawn(backlog.run(drain.clone()));
        Self {
            directory,
            store,
            runner,
            began,
            catalogue,
            drain,
            task,
        }
    }

    /// Waits until a run begins.
    pub(crate) async fn next(&mut self) -> (Accepted, Arc<Function>) {
        self.began.recv().await.unwrap()
    }

    /// Waits until an invocation has ended.
    pub(crate) async fn end_of(&self, id: InvocationId) -> Record {
        let mut follower = self.store.follow(skep_store::LogFilter {
            invocation: Some(id),
            ..Default::default()
        });
        while follower.next().await.unwrap().is_some() {}
        self.store.record_of(id).await.unwrap().unwrap()
    }

    /// Waits until something holds that tells nobody. The runtime is never idle meanwhile, so that the paused clock
    /// stands still.
    pub(crate) async fn until(&self, holds: impl Fn(&Store) -> bool) {
        while !holds(&self.store) {
            tokio::task::yield_now().await;
        }
    }

    /// Drains, and waits for the end.
    pub(crate) async fn drained(&mut self) {
        self.drain.cancel();
        (&mut self.task).await.unwrap();
    }
}

pub(crate) fn catalogue(functions: &[Function]) -> Arc<Catalogue> {
    let candidates = functions.iter().cloned().map(Ok).collect();
    Arc::new(Catalogue::resolve(&Namespace::default(), candidates, None))
}

/// A function that may have so many instances.
pub(crate) fn function(name: &str, max: u32) -> Function {
    let max = max.to_string();
    skep_testing::function(name, &[("skep.handler", "exec"), ("skep.max", &max)])
}

/// Accepts an invocation of a function.
pub(crate) async fn accept(store: &Store, function: &str) -> (InvocationId, Key) {
    let key = Key::generate();
    let record = skep_testing::record(function, Trigger::Async);
    let id = record.id;
    let request = Request {
        method: Method::POST,
        path: "/".to_owned(),
        headers: HeaderMap::new(),
        body: Body::empty(),
        context: String::new(),
    };
    store
        .accept(NewInvocation {
            record,
            request,
            key: key.hash(),
            backlog: 1_000,
        })
        .await
        .unwrap();
    (id, key)
}
