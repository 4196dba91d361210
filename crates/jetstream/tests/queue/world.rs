//! What the tests share: both queues, invocations to accept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use skep_jetstream::{Config, JetStream};
use skep_model::{Ending, EndingKind, InstanceId, InvocationId, Phases, Record, Status, Trigger};
use skep_store::{Accepted, Body, Key, NewInvocation, Queue, Request, Store, StoredResponse};
use skep_testing::Nats;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a claim lasts of which nobody speaks.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(2);

/// A gateway's end of the queue on NATS.
pub(crate) struct Gateway {
    pub(crate) queue: JetStream,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Gateway {
    pub(crate) async fn on(nats: &Nats) -> Self {
        Self::with(config(nats), None).await
    }

    pub(crate) async fn with(config: Config, mirror: Option<Store>) -> Self {
        let queue = JetStream::connect(config).await.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(queue.clone().run(mirror, stop.clone()));
        let ready = tokio::time::timeout(PATIENCE, queue.ready()).await;
        ready.expect("the server answers");
        Self { queue, task, stop }
    }

    /// It ends as it should.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// It is gone at once, and says nothing to anybody.
    pub(crate) fn crash(self) {
        self.task.abort();
    }
}

pub(crate) fn config(nats: &Nats) -> Config {
    Config {
        ack_wait: ACK_WAIT,
        ..Config::new("tests", vec![nats.url()])
    }
}

/// One of both queues, with whatever it needs.
pub(crate) enum World {
    Sqlite {
        directory: tempfile::TempDir,
        store: Store,
    },
    Nats {
        nats: Nats,
        gateway: Option<Gateway>,
    },
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(skep_store::Config::in_directory(directory.path())).unwrap();
        Self::Sqlite { directory, store }
    }

    pub(crate) async fn nats() -> Self {
        let nats = Nats::start();
        let gateway = Some(Gateway::on(&nats).await);
        Self::Nats { nats, gateway }
    }

    pub(crate) fn queue(&self) -> Arc<dyn Queue> {
        match self {
            Self::Sqlite { store, .. } => store.clone().into(),
            Self::Nats { gateway, .. } => gateway.as_ref().unwrap().queue.clone().into(),
        }
    }

    /// Ends it and starts it anew.
    pub(crate) async fn restart(&mut self) {
        match self {
            Self::Sqlite { directory, store } => {
                store.close().await;
                *store = Store::open(skep_store::Config::in_directory(directory.path())).unwrap();
            }
            Self::Nats { nats, gateway } => {
                gateway.take().unwrap().end().await;
                *gateway = Some(Gateway::on(nats).await);
            }
        }
    }
}

/// Waits until there is something, which may take a moment.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            // Nobody tells of it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(crate) fn record(function: &str) -> Record {
    Record {
        id: InvocationId::generate(),
        function: function.to_owned(),
        revision: Some("0123456789ab".to_owned()),
        parent: Some(InvocationId::generate()),
        trigger: Trigger::Async,
        status: Status::Queued,
        method: "POST".to_owned(),
        path: "/work?n=1".to_owned(),
        received: now(),
        started: None,
        ended: None,
        instance: None,
        phases: Phases::default(),
        attempts: 0,
        ending: None,
    }
}

/// The time, as exactly as either queue stores it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}

pub(crate) fn ended(mut record: Record, kind: EndingKind) -> Record {
    record.started = Some(now());
    record.ended = Some(now());
    record.instance = Some(InstanceId::generate());
    record.phases.handler = Some(Duration::from_micros(1_234));
    record.ending = Some(Ending {
        kind,
        problem: None,
        exit_code: Some(0),
        http_status: Some(200),
        detail: Some("what an operator should know: größer als erwartet".to_owned()),
    });
    record.status = record.ending.as_ref().unwrap().status();
    record
}

pub(crate) fn new_invocation(function: &str, body: Body) -> (NewInvocation, Key) {
    let key = Key::generate();
    let mut headers = HeaderMap::new();
    headers.append("x-kind", HeaderValue::from_static("test"));
    headers.append("x-kind", HeaderValue::from_bytes(b"\xe9t\xe9").unwrap());
    let record = record(function);
    let request = Request {
        method: Method::PUT,
        path: record.path.clone(),
        headers,
        body,
        context: "{\"the gateway's\": \"own\"}".to_owned(),
    };
    let new = NewInvocation {
        record,
        request,
        key: key.hash(),
        backlog: 100_000,
    };
    (new, key)
}

pub(crate) async fn accept(queue: &dyn Queue, function: &str, body: &str) -> (InvocationId, Key) {
    let (new, key) = new_invocation(function, Body::from(Bytes::copy_from_slice(body.as_bytes())));
    let id = new.record.id;
    queue.accept(new).await.unwrap();
    (id, key)
}

pub(crate) async fn claim_one(queue: &dyn Queue, function: &str) -> Accepted {
    let mut claimed = queue.claim(function, 1).await.unwrap();
    claimed.pop().expect("there is work")
}

pub(crate) fn response(body: Body) -> StoredResponse {
    let mut headers = HeaderMap::new();
    headers.append("content-type", HeaderValue::from_static("text/plain"));
    headers.append("set-cookie", HeaderValue::from_static("a=1"));
    headers.append("set-cookie", HeaderValue::from_static("b=2"));
    StoredResponse {
        status: StatusCode::CREATED,
        headers,
        body,
    }
}
