//! What the tests share: both queues, invocations to accept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use skep_jetstream::{Config, JetStream};
use skep_model::{InvocationId, Trigger};
use skep_store::{Accepted, Body, Key, NewInvocation, Queue, Request, Store, StoredResponse};
use skep_testing::{Nats, PATIENCE};
pub(crate) use skep_testing::{ended, eventually, now, record};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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

pub(crate) fn new_invocation(function: &str, body: Body) -> (NewInvocation, Key) {
    let key = Key::generate();
    let mut headers = HeaderMap::new();
    headers.append("x-kind", HeaderValue::from_static("test"));
    headers.append("x-kind", HeaderValue::from_bytes(b"\xe9t\xe9").unwrap());
    let record = record(function, Trigger::Async);
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
