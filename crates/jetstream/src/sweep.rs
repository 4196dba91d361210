//! Looks now and then at what the streams hold in truth: an accept that broke off, a body that nothing names, an end
//! whose invocation is still in the queue.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::TryStreamExt;
use skep_model::InvocationId;
use skep_store::StoreError;
use tokio::time::{MissedTickBehavior, interval};

use crate::bodies::Bucket;
use crate::error::{cannot, said};
use crate::queue::Inner;

/// What is younger may be on its way.
const YOUNG: Duration = Duration::from_secs(3600);
/// An accept takes seconds at most.
const ACCEPTING: Duration = Duration::from_secs(120);
const SWEEP: &str = "sweep";

impl Inner {
    pub(crate) async fn sweep(&self) {
        let mut ticks = interval(self.config.sweep_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Which functions seemed to have too much the last time.
        let mut suspects = HashSet::new();
        loop {
            ticks.tick().await;
            if !self.is_ready() {
                continue;
            }
            let swept = async {
                suspects = self.compare(&suspects).await?;
                self.sweep_requests().await?;
                self.sweep_results().await
            };
            if let Err(error) = swept.await {
                tracing::debug!(
                    error = error.with_sources(),
                    "the queue of the Swarm can't be swept now"
                );
            }
        }
    }

    /// Compares what is known with what is in the queue.
    async fn compare(&self, suspects: &HashSet<String>) -> Result<HashSet<String>, StoreError> {
        let names = &self.streams.names;
        let stream = self
            .streams
            .context
            .get_stream_no_info(names.queue_stream())
            .await;
        let stream = stream.map_err(cannot(SWEEP))?;
        let subjects = stream
            .info_with_subjects(names.all_work())
            .await
            .map_err(cannot(SWEEP))?;
        let there: HashMap<String, usize> = subjects.try_collect().await.map_err(cannot(SWEEP))?;
        let known = self.live().functions();
        let mut totals: HashMap<String, u64> = known.into_iter().map(|name| (name, 0)).collect();
        for (subject, count) in there {
            if let Some(function) = names.function_of_work(&subject) {
                totals.insert(function.to_owned(), count as u64);
            }
        }
        let mut suspected = HashSet::new();
        for (function, total) in totals {
            let too_many = self.live().truth(&function, total);
            if too_many == 0 || total > 0 {
                continue;
            }
            if !suspects.contains(&function) {
                suspected.insert(function);
                continue;
            }
            let ids = self.live().of(&function);
            for id in ids {
                self.forget(id).await?;
            }
        }
        self.work.send_replace(());
        Ok(suspected)
    }

    /// Removes the record of an invocation that is not in the queue: its accept broke off, and its caller knows.
    async fn forget(&self, id: InvocationId) -> Result<(), StoreError> {
        if age(id.unix_milliseconds()) < ACCEPTING || self.held.get(id).is_some() {
            return Ok(());
        }
        // It may have ended meanwhile.
        let Some(found) = self.find(id).await? else {
            self.live().forget(id);
            return Ok(());
        };
        self.note(&found.kept, found.sequence);
        if found.kept.record.status.is_end() {
            return Ok(());
        }
        tracing::warn!(invocation = %id, "an invocation that was never wholly accepted is forgotten");
        let names = &self.streams.names;
        let stream = self
            .streams
            .context
            .get_stream_no_info(names.records_stream())
            .await;
        let stream = stream.map_err(cannot(SWEEP))?;
        stream
            .purge()
            .filter(names.record(id))
            .await
            .map_err(cannot(SWEEP))?;
        self.live().forget(id);
        Ok(())
    }

    /// Removes the large bodies of requests that are over.
    async fn sweep_requests(&self) -> Result<(), StoreError> {
        for object in objects(&self.requests).await? {
            let needed = self.live().needs(&object.name);
            if object.age > YOUNG && !needed {
                self.requests.remove(&object.name).await?;
            }
        }
        sweep_pieces(self, &self.requests).await
    }

    /// Removes the oldest large results where there are too many.
    async fn sweep_results(&self) -> Result<(), StoreError> {
        let mut all = objects(&self.results).await?;
        all.sort_by_key(|object| object.age);
        let mut bytes = 0;
        for object in all {
            bytes += object.size;
            if bytes > self.config.keep_bytes {
                self.results.remove(&object.name).await?;
            }
        }
        sweep_pieces(self, &self.results).await
    }
}

struct Object {
    name: String,
    size: u64,
    age: Duration,
}

async fn objects(bucket: &Bucket) -> Result<Vec<Object>, StoreError> {
    let store = bucket.store().await?;
    let list = store.list().await.map_err(cannot(SWEEP))?;
    let all: Vec<_> = list.try_collect().await.map_err(cannot(SWEEP))?;
    let object = |info: async_nats::jetstream::object_store::ObjectInfo| Object {
        // Objects are named by the time they were begun.
        age: uuid::Uuid::parse_str(&info.name)
            .ok()
            .and_then(|name| name.get_timestamp())
            .map_or(Duration::MAX, |time| age(time.to_unix().0 * 1000)),
        size: info.size as u64,
        name: info.name,
    };
    Ok(all.into_iter().map(object).collect())
}

/// Removes the pieces of objects that were never completed.
async fn sweep_pieces(inner: &Inner, bucket: &Bucket) -> Result<(), StoreError> {
    let stream = inner.streams.context.get_stream_no_info(bucket.stream()).await;
    let stream = stream.map_err(cannot(SWEEP))?;
    let pieces = stream
        .info_with_subjects(bucket.pieces("*"))
        .await
        .map_err(cannot(SWEEP))?;
    let pieces: HashMap<String, usize> = pieces.try_collect().await.map_err(cannot(SWEEP))?;
    if pieces.is_empty() {
        return Ok(());
    }
    let store = bucket.store().await?;
    let list = store.list().await.map_err(cannot(SWEEP))?;
    let complete: Vec<_> = list.try_collect().await.map_err(cannot(SWEEP))?;
    let complete: HashSet<String> = complete.iter().map(|info| bucket.pieces(&info.nuid)).collect();
    for subject in pieces.keys().filter(|subject| !complete.contains(*subject)) {
        let Ok(last) = stream.get_last_raw_message_by_subject(subject).await else {
            continue;
        };
        let seconds =
            u64::try_from(last.time.unix_timestamp()).map_err(|error| said(SWEEP, error.to_string()))?;
        if age(seconds * 1000) > YOUNG {
            stream.purge().filter(subject).await.map_err(cannot(SWEEP))?;
        }
    }
    Ok(())
}

/// How long ago that was.
fn age(unix_milliseconds: u64) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default()
        .saturating_sub(Duration::from_millis(unix_milliseconds))
}
