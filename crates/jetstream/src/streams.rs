//! The streams of a namespace: made where they are missing, brought to what is asked for, written and read.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::object_store;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType,
};
use skep_store::StoreError;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::error::{away, cannot};
use crate::metrics::Metrics;
use crate::names::Names;

/// For so long a write is tried again while servers agree on who leads.
const TRY_FOR: Duration = Duration::from_secs(8);
/// For so long a connection that broke may take to stand again, with another server.
const RECONNECT: Duration = Duration::from_secs(2);
/// How long one try may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(3);
/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// For so long a write that is tried again is known for the same.
const SAME_FOR: Duration = Duration::from_secs(60);
/// A consumer that nobody asks for so long goes; what is not acknowledged stays in the stream.
const CONSUMER_REST: Duration = Duration::from_secs(24 * 3600);
/// How many invocations of one function may run at once at all gateways.
const AT_ONCE: i64 = 100_000;

/// The streams.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) context: Context,
    pub(crate) names: Names,
    pub(crate) metrics: Metrics,
}

/// How a write came out that was to follow another.
#[derive(Debug)]
pub(crate) enum Written {
    /// It stands there.
    At(u64),
    /// Another was written in between.
    Overtaken,
}

impl Streams {
    /// Makes every stream, or brings it to what is asked for.
    pub(crate) async fn prepare(&self, config: &Config) -> Result<(), StoreError> {
        let stream = |name: String, subjects: Vec<String>| StreamConfig {
            name,
            subjects,
            storage: StorageType::File,
            num_replicas: config.replicas,
            duplicate_window: SAME_FOR,
            ..StreamConfig::default()
        };
        let queue = StreamConfig {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            ..stream(self.names.queue_stream(), vec![self.names.all_work()])
        };
        let subjects = vec![self.names.all_records(), self.names.all_absent()];
        let records = StreamConfig {
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_messages_per_subject: 1,
            max_age: config.keep_for,
            max_bytes: i64::try_from(config.keep_bytes).unwrap_or(i64::MAX),
            ..stream(self.names.records_stream(), subjects)
        };
        for wanted in [queue, records] {
            let made = self.context.create_or_update_stream(wanted).await;
            made.map_err(cannot("make the streams"))?;
        }
        // What waits is needed however long it waits; results have their time.
        for (bucket, max_age) in [
            (self.names.requests_bucket(), Duration::ZERO),
            (self.names.results_bucket(), config.keep_for),
        ] {
            if self.context.get_object_store(&bucket).await.is_ok() {
                continue;
            }
            let wanted = object_store::Config {
                bucket,
                max_age,
                num_replicas: config.replicas,
                ..object_store::Config::default()
            };
            let made = self.context.create_object_store(wanted).await;
            made.map_err(cannot("make the object stores"))?;
        }
        Ok(())
    }

    /// The consumer that all gateways share for one function.
    pub(crate) async fn consumer(
        &self,
        function: &str,
        ack_wait: Duration,
    ) -> Result<PullConsumer, StoreError> {
        let wanted = pull::Config {
            durable_name: Some(function.to_owned()),
            filter_subject: self.names.work(function),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_ack_pending: AT_ONCE,
            inactive_threshold: CONSUMER_REST,
            ..pull::Config::default()
        };
        let made = self
            .context
            .create_consumer_on_stream(wanted, self.names.queue_stream());
        made.await.map_err(cannot("claim from"))
    }

    /// Whether a server is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.context.client().connection_state() == State::Connected
    }

    /// Writes a message; when this returns `Ok` it is on the disks of most servers. A try that was not answered is
    /// repeated under the same `name`, by which it is known for the same.
    pub(crate) async fn write(
        &self,
        action: &'static str,
        name: &str,
        subject: String,
        message: PublishMessage,
    ) -> Result<Written, StoreError> {
        let message = message.message_id(name);
        let began = Instant::now();
        loop {
            if !self.is_connected() {
                if began.elapsed() > RECONNECT {
                    return Err(away(action));
                }
                sleep(PAUSE).await;
                continue;
            }
            let sent = self.context.send_publish(subject.clone(), message.clone()).await;
            let answer = match sent {
                Ok(answer) => tokio::time::timeout(ANSWER, answer).await,
                Err(error) => Ok(Err(error)),
            };
            let error = match answer {
                Ok(Ok(ack)) => return Ok(Written::At(ack.sequence)),
                Ok(Err(error)) => error,
                Err(_) => PublishErrorKind::TimedOut.into(),
            };
            match error.kind() {
                PublishErrorKind::WrongLastSequence => return Ok(Written::Overtaken),
                PublishErrorKind::TimedOut
                | PublishErrorKind::StreamNotFound
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::Other
                    if began.elapsed() < TRY_FOR => {}
                _ => return Err(cannot(action)(error)),
            }
            self.metrics.retried.inc();
            sleep(PAUSE).await;
        }
    }

    /// The last message of a subject in the stream of records, as its leader has it.
    pub(crate) async fn last_record(&self, subject: &str) -> Result<Option<StreamMessage>, StoreError> {
        let stream = self.names.records_stream();
        self.read("read a record", stream, subject, None).await
    }

    /// A message of a subject, as its stream's leader has it: the first from this place on, or the last. It is tried
    /// again while servers agree on who leads.
    pub(crate) async fn read(
        &self,
        action: &'static str,
        stream: String,
        subject: &str,
        from: Option<u64>,
    ) -> Result<Option<StreamMessage>, StoreError> {
        let stream = self.context.get_stream_no_info(stream).await;
        let stream = stream.map_err(cannot(action))?;
        let began = Instant::now();
        loop {
            if !self.is_connected() {
                if began.elapsed() > RECONNECT {
                    return Err(away(action));
                }
                sleep(PAUSE).await;
                continue;
            }
            let asked = match from {
                Some(from) => {
                    let next = stream.raw_message_builder().next_by_subject(subject);
                    next.sequence(from).send().await
                }
                None => stream.get_last_raw_message_by_subject(subject).await,
            };
            let error = match asked {
                Ok(found) => return Ok(Some(found)),
                Err(error) => error,
            };
            match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => return Ok(None),
                _ if began.elapsed() < TRY_FOR => {}
                _ => return Err(cannot(action)(error)),
            }
            self.metrics.retried.inc();
            sleep(PAUSE).await;
        }
    }
}
