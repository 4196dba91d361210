//! What the store's tests share: invocations to accept, records to keep.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use skep_model::{InstanceId, InvocationId, LogEntry, LogLine, LogStream, Trigger};
use skep_store::{Accepted, Body, Config, Key, NewInvocation, Request, Store, StoredResponse};
pub(crate) use skep_testing::{ended, now, record};

/// A store in a directory of its own, which goes with it.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::in_directory(directory.path());
        change(&mut config);
        Self {
            store: Store::open(config).unwrap(),
            directory,
        }
    }

    /// Ends the store and opens it anew, as a restart does.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = Store::open(Config::in_directory(self.directory.path())).unwrap();
    }

    /// How many spilled bodies there are.
    pub(crate) fn spilled(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("bodies"))
            .unwrap()
            .count()
    }
}

pub(crate) fn new_invocation(function: &str, body: Body) -> (NewInvocation, Key) {
    let key = Key::generate();
    let mut headers = HeaderMap::new();
    headers.insert("x-kind", HeaderValue::from_static("test"));
    let record = record(function, Trigger::Async);
    let request = Request {
        method: Method::POST,
        path: record.path.clone(),
        headers,
        body,
        context: "the gateway's own".to_owned(),
    };
    (
        NewInvocation {
            record,
            request,
            key: key.hash(),
            backlog: 100_000,
        },
        key,
    )
}

/// Accepts an invocation with this text as its body.
pub(crate) async fn accept(store: &Store, function: &str, body: &str) -> (InvocationId, Key) {
    let (new, key) = new_invocation(function, Body::from(Bytes::copy_from_slice(body.as_bytes())));
    let id = new.record.id;
    store.accept(new).await.unwrap();
    (id, key)
}

pub(crate) async fn claim_one(store: &Store, function: &str) -> Accepted {
    store
        .claim(function, 1)
        .await
        .unwrap()
        .pop()
        .expect("there is work")
}

pub(crate) fn response(body: Body) -> StoredResponse {
    let mut headers = HeaderMap::new();
    headers.append("content-type", HeaderValue::from_static("text/plain"));
    StoredResponse {
        status: StatusCode::CREATED,
        headers,
        body,
    }
}

pub(crate) fn line(function: &str, invocation: Option<InvocationId>, text: &str) -> LogEntry {
    LogEntry {
        function: function.parse().unwrap(),
        instance: InstanceId::generate(),
        invocation,
        line: LogLine {
            time: now(),
            stream: LogStream::Stderr,
            text: text.as_bytes().to_vec(),
        },
    }
}
