//! Following the stream of records, so that this gateway knows what all of them have.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig, OrderedError};
use async_nats::jetstream::stream::Stream;
use futures::StreamExt;
use futures::stream::ReadyChunks;
use skep_model::Record;
use skep_store::{Store, StoreError};
use tokio::time::sleep;

use crate::error::{cannot, said};
use crate::message::{ABSENT, Kept};
use crate::queue::Inner;

const DOING: &str = "follow what is";
/// How many records are noted at a time.
const BATCH: usize = 256;
/// After a failure, before the next try: doubling from the first to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often it is looked whether there are records that do not come. What gives them out is on one server, and the
/// client takes the better part of a minute to notice that this one is gone.
const LOOK: Duration = Duration::from_secs(5);

impl Inner {
    /// Follows the records for ever. Until a server answers, it is tried again.
    pub(crate) async fn follow(&self, mirror: Option<Store>) {
        let (mut pause, longest) = PAUSE;
        loop {
            match self.follow_once(mirror.as_ref()).await {
                Ok(()) => pause = PAUSE.0,
                Err(error) if pause == longest => {
                    tracing::warn!(
                        error = error.with_sources(),
                        "the queue of the Swarm can't be followed"
                    );
                }
                Err(error) => {
                    tracing::info!(
                        error = error.with_sources(),
                        "the queue of the Swarm can't be followed yet"
                    );
                }
            }
            self.set_ready(false);
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn set_ready(&self, ready: bool) {
        self.metrics.ready.set(i64::from(ready));
        if self.ready.send_replace(ready) != ready {
            tracing::info!(ready, "the queue of the Swarm");
        }
        if ready {
            self.work.send_replace(());
        }
    }

    async fn follow_once(&self, mirror: Option<&Store>) -> Result<(), StoreError> {
        self.streams.prepare(&self.config).await?;
        let name = self.streams.names.records_stream();
        let stream = self
            .streams
            .context
            .get_stream(&name)
            .await
            .map_err(cannot(DOING))?;
        let last = stream.cached_info().state.last_sequence;
        let followed = self.live().followed();
        if followed > last {
            // The servers lost what they had, or are others.
            tracing::error!("the queue of the Swarm begins anew: what it had is not there any longer");
            *self.live() = crate::live::Live::default();
        }
        let mut batches = self.consume(&stream, last).await?;
        let looks = futures::stream::unfold((), async |()| {
            sleep(LOOK).await;
            let info = stream.get_info().await.ok();
            Some((info.map(|info| info.state.last_sequence), ()))
        });
        let mut looks = std::pin::pin!(looks);
        let mut behind = None;
        loop {
            let batch = tokio::select! {
                batch = batches.next() => batch,
                Some(last) = looks.next() => {
                    let followed = self.live().followed();
                    behind = match last {
                        Some(last) if last > followed => {
                            if behind == Some(followed) && let Ok(anew) = self.consume(&stream, last).await {
                                batches = anew;
                            }
                            Some(followed)
                        }
                        _ => None,
                    };
                    continue;
                }
            };
            match batch {
                Some(batch) => self.hear_all(batch, mirror).await?,
                None => return Ok(()),
            }
        }
    }

    /// Has all records given out behind those that are known; `last` is the place of the last that there is.
    async fn consume(&self, stream: &Stream, last: u64) -> Result<ReadyChunks<Ordered>, StoreError> {
        let deliver_policy = match self.live().followed() {
            0 => DeliverPolicy::All,
            followed => DeliverPolicy::ByStartSequence {
                start_sequence: followed + 1,
            },
        };
        let wanted = OrderedConfig {
            deliver_policy,
            headers_only: true,
            ..OrderedConfig::default()
        };
        let consumer = stream.create_consumer(wanted).await.map_err(cannot(DOING))?;
        if consumer.cached_info().num_pending == 0 {
            // Whatever stood behind them is gone.
            self.live().followed_to(last);
            self.set_ready(true);
        }
        let messages = consumer.messages().await.map_err(cannot(DOING))?;
        Ok(messages.ready_chunks(BATCH))
    }

    async fn hear_all(
        &self,
        batch: Vec<Result<Message, OrderedError>>,
        mirror: Option<&Store>,
    ) -> Result<(), StoreError> {
        let mut records = Vec::new();
        let mut left = None;
        for message in batch {
            let message = message.map_err(cannot(DOING))?;
            let info = message.info().map_err(|error| said(DOING, error.to_string()))?;
            let (sequence, pending) = (info.stream_sequence, info.pending);
            records.extend(self.hear(&message, sequence));
            left = Some((sequence, pending));
        }
        if let Some(mirror) = mirror
            && !records.is_empty()
            && let Err(error) = mirror.mirror(records).await
        {
            tracing::warn!(
                error = error.with_sources(),
                "records of the Swarm's queue can't be searched here"
            );
        }
        if let Some((sequence, pending)) = left {
            self.live().followed_to(sequence);
            if pending == 0 && !*self.ready.borrow() {
                self.set_ready(true);
            }
        }
        Ok(())
    }

    fn hear(&self, message: &Message, sequence: u64) -> Option<Record> {
        let fields = message.headers.as_ref()?;
        if let Some(kept) = Kept::read(fields) {
            self.note(&kept, sequence);
            return Some(kept.record);
        }
        let function = self.streams.names.function_of_absent(&message.subject)?;
        let since = fields.get(ABSENT)?.as_str().parse().ok();
        self.live().absent(function, since, sequence);
        None
    }
}
