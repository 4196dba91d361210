//! The queue as its users see it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::context::ContextBuilder;
use futures::FutureExt;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use skep_model::{InvocationId, Record};
use skep_store::{
    Accepted, Answer, BodyWriter, Key, NewInvocation, Queue, Store, StoreError, StoredResponse, Waiting,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::bodies::{Bucket, Garbage};
use crate::config::Config;
use crate::error::cannot;
use crate::held::AllHeld;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::streams::{ANSWER, Streams};

/// Between two tries to reach a server.
const RECONNECT_AT_MOST: Duration = Duration::from_secs(1);

/// The queue of one namespace. Clones are handles to the same one.
#[derive(Clone)]
pub struct JetStream {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) streams: Arc<Streams>,
    pub(crate) live: Mutex<Live>,
    pub(crate) held: AllHeld,
    pub(crate) consumers: Mutex<HashMap<String, PullConsumer>>,
    /// Told whenever there is something new to claim.
    pub(crate) work: watch::Sender<()>,
    /// Whether the streams are there and were followed to their end once.
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) requests: Arc<Bucket>,
    pub(crate) results: Arc<Bucket>,
    pub(crate) garbage: Mutex<Option<mpsc::UnboundedReceiver<Garbage>>>,
    pub(crate) metrics: Metrics,
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl JetStream {
    /// A queue on these servers, which need not answer yet: [`JetStream::run`] goes on trying.
    ///
    /// # Errors
    /// `Queue` where a server's address is none, or the servers refuse this gateway.
    pub async fn connect(config: Config) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new()
            .name("skep gateway")
            .connection_timeout(ANSWER)
            .request_timeout(Some(ANSWER))
            // A server that is gone without a word is noticed before its work is given to others.
            .ping_interval(config.ack_wait / 5)
            .reconnect_delay_callback(|tries| {
                RECONNECT_AT_MOST
                    .min(Duration::from_millis(50) * u32::try_from(tries).unwrap_or(u32::MAX).min(20))
            })
            .retry_on_initial_connect();
        if let Some(tls) = config.tls.clone() {
            options = options.tls_client_config(tls).require_tls(true);
        }
        let connected = options.connect(config.servers.clone()).await;
        let client = connected.map_err(cannot("connect"))?;
        let context = ContextBuilder::new()
            .timeout(ANSWER)
            .ack_timeout(ANSWER)
            .build(client);
        let metrics = Metrics::default();
        let streams = Arc::new(Streams {
            context,
            names: Names::new(&config.namespace),
            metrics: metrics.clone(),
        });
        let (thrown, garbage) = mpsc::unbounded_channel();
        let bucket = |name: String| Arc::new(Bucket::new(streams.clone(), name, thrown.clone()));
        let (requests, results) = (
            bucket(streams.names.requests_bucket()),
            bucket(streams.names.results_bucket()),
        );
        let inner = Inner {
            config,
            streams,
            live: Mutex::default(),
            held: AllHeld::default(),
            consumers: Mutex::default(),
            work: watch::Sender::new(()),
            ready: watch::Sender::new(false),
            requests,
            results,
            garbage: Mutex::new(Some(garbage)),
            metrics,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Adds the queue's metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }

    /// Follows the queue, and keeps what this gateway has claimed, until `stop`; then gives back what it still has.
    /// Every record that changes is also kept in `mirror`, where it can be searched.
    pub async fn run(self, mirror: Option<Store>, stop: CancellationToken) {
        let garbage = self
            .inner
            .garbage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let inner = &*self.inner;
        let working = async {
            tokio::join!(
                inner.follow(mirror),
                inner.held.keep(inner.config.ack_wait),
                inner.sweep(),
                inner.throw_away(garbage),
            );
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = working => {}
        }
        inner.ready.send_replace(false);
        inner.held.give_back().await;
        let client = inner.streams.context.client();
        // Where no server is there, nothing is to be sent to it.
        let _ = tokio::time::timeout(ANSWER, client.flush()).await;
    }

    /// Returns once everything that is in the queue is known here.
    pub async fn ready(&self) {
        let mut ready = self.inner.ready.subscribe();
        // The sender lives as long as `self`.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Whether a server is connected, and what is in the queue is known here.
    pub fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }
}

impl Inner {
    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow() && self.streams.is_connected()
    }
}

impl From<JetStream> for Arc<dyn Queue> {
    fn from(queue: JetStream) -> Self {
        Arc::new(queue)
    }
}

impl Queue for JetStream {
    fn request_body(&self) -> BodyWriter {
        BodyWriter::new(self.inner.requests.clone(), self.inner.config.max_request_body)
    }

    fn response_body(&self) -> BodyWriter {
        BodyWriter::new(self.inner.results.clone(), self.inner.config.max_response_body)
    }

    fn accept(&self, new: NewInvocation) -> Answer<'_, ()> {
        self.inner.accept(new).boxed()
    }

    fn work(&self) -> watch::Receiver<()> {
        self.inner.work.subscribe()
    }

    fn waiting(&self) -> Vec<Waiting> {
        self.inner.live().waiting()
    }

    fn queued(&self, function: &str) -> u64 {
        self.inner.live().queued(function)
    }

    fn claim<'a>(&'a self, function: &'a str, limit: usize) -> Answer<'a, Vec<Accepted>> {
        self.inner.claim(function, limit).boxed()
    }

    fn release(&self, id: InvocationId) -> Answer<'_, ()> {
        self.inner.put_back(id, false).boxed()
    }

    fn repeat(&self, id: InvocationId) -> Answer<'_, ()> {
        self.inner.put_back(id, true).boxed()
    }

    fn finish(&self, record: Record, response: Option<StoredResponse>) -> Answer<'_, ()> {
        self.inner.finish(record, response).boxed()
    }

    fn set_absent<'a>(&'a self, function: &'a str, since: Option<Timestamp>) -> Answer<'a, ()> {
        self.inner.set_absent(function, since).boxed()
    }

    fn fail_removed<'a>(&'a self, function: &'a str, now: Timestamp, limit: usize) -> Answer<'a, u64> {
        self.inner.fail_removed(function, now, limit).boxed()
    }

    fn look<'a>(&'a self, id: InvocationId, key: &'a Key) -> Answer<'a, Option<Record>> {
        async move { Ok(self.inner.result(id, key).await?.map(|(record, _)| record)) }.boxed()
    }

    fn result<'a>(
        &'a self,
        id: InvocationId,
        key: &'a Key,
    ) -> Answer<'a, Option<(Record, Option<StoredResponse>)>> {
        self.inner.result(id, key).boxed()
    }
}
