//! The store as its users see it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use skep_model::{InvocationId, Journal, LogEntry, Record, Status};
use tokio::sync::watch;

use crate::body::BodyWriter;
use crate::columns;
use crate::config::Config;
use crate::counts::Counts;
use crate::error::StoreError;
use crate::files::{Lock, make_directory, sync_directory};
use crate::invocation::{Accepted, NewInvocation, StoredResponse, Waiting};
use crate::journal::WriteBehind;
use crate::key::Key;
use crate::metrics::Metrics;
use crate::query::{Found, IdPrefix, LogFilter, RecordFilter, RecordPage, StoredLine};
use crate::queue::{self, Finished};
use crate::read::{LogFollower, Readers};
use crate::retention::{Tidied, Tidier, Upkeep};
use crate::schema;
use crate::writer::{Reply, Setup, Writer};

/// The store of one data directory. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    bodies: Arc<Path>,
    queue: Arc<Writer>,
    journal: WriteBehind,
    readers: Arc<Readers>,
    counts: Arc<Counts>,
    /// Told whenever there is something new to claim.
    work: watch::Sender<()>,
    /// Told whenever records or lines were added.
    news: watch::Sender<()>,
    metrics: Metrics,
    upkeep: Arc<Upkeep>,
    tidier: Tidier,
    lock: Mutex<Option<Arc<Lock>>>,
}

/// How many accepts, claims and ends may wait for the queue's writer.
const QUEUE_CAPACITY: usize = 512;

impl Store {
    /// Opens the store in a data directory and brings it to order: invocations that ran when the last process
    /// ended wait again, bodies that belong to nothing are removed. Blocks; call it before serving.
    ///
    /// # Errors
    /// `Locked` where another process has the directory, `Newer` where a newer Skep wrote it, otherwise what the
    /// disk refused.
    pub fn open(config: Config) -> Result<Self, StoreError> {
        make_directory(&config.directory)?;
        let lock = Arc::new(Lock::take(&config.directory)?);
        let bodies: Arc<Path> = config.directory.join("bodies").into();
        make_directory(&bodies)?;
        let queue = schema::open_queue(&config.directory)?;
        let kept = schema::open_kept(&config.directory)?;
        // SQLite does not sync the directory for the database file itself.
        sync_directory(&config.directory)?;
        let counts = Arc::new(recover(&queue, &kept).map_err(StoreError::database("recover"))?);
        remove_orphans(&queue, &bodies)?;
        let metrics = Metrics::default();
        let news = watch::Sender::new(());
        let setup = |name, capacity, linger| Setup {
            name,
            capacity,
            linger,
            metrics: metrics.clone(),
            _lock: lock.clone(),
        };
        let queue = Arc::new(Writer::start(
            queue,
            setup("queue", QUEUE_CAPACITY, Duration::ZERO),
        )?);
        let journal = WriteBehind::start(
            kept,
            setup("records", 8 * 1024, Duration::from_millis(20)),
            news.clone(),
        )?;
        let upkeep = Arc::new(Upkeep::new(
            &config,
            bodies.clone(),
            queue.clone(),
            journal.writer(),
            metrics.clone(),
        ));
        let inner = Inner {
            readers: Arc::new(Readers::new(config.directory.clone(), bodies.clone())),
            tidier: Tidier::start(upkeep.clone(), config.tidy_every)?,
            config,
            bodies,
            queue,
            journal,
            counts,
            work: watch::Sender::new(()),
            news,
            metrics,
            upkeep,
            lock: Mutex::new(Some(lock)),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Adds the store's metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }

    /// Stops: writes what is under way and releases the data directory. What is asked of any handle afterwards
    /// fails with `Closed`.
    pub async fn close(&self) {
        let inner = self.inner.clone();
        let closed = tokio::task::spawn_blocking(move || {
            inner.tidier.stop();
            inner.queue.stop();
            inner.journal.writer().stop();
            inner.readers.close();
            inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the store did not close as it should");
        }
    }

    // ---- asynchronous invocations: accepting

    /// Takes in the body of a request that is to be accepted; at most [`Config::max_request_body`] bytes.
    pub fn request_body(&self) -> BodyWriter {
        BodyWriter::new(self.inner.bodies.clone(), self.inner.config.max_request_body)
    }

    /// Takes in the body of a response that is to be stored; at most [`Config::max_response_body`] bytes.
    pub fn response_body(&self) -> BodyWriter {
        BodyWriter::new(self.inner.bodies.clone(), self.inner.config.max_response_body)
    }

    /// Accepts an invocation. When this returns `Ok` it is on the disk and will run at least once; on an error it
    /// is not stored. Where the future is dropped it may be either.
    ///
    /// # Errors
    /// `BacklogFull` where as many wait as `skep.backlog` allows; `Database` where the disk refuses.
    pub async fn accept(&self, mut new: NewInvocation) -> Result<(), StoreError> {
        new.record.status = Status::Queued;
        new.record.attempts = 0;
        let inner = &self.inner;
        inner.counts.reserve(&new.record.function, new.backlog)?;
        let reservation = Reservation {
            counts: inner.counts.clone(),
            function: new.record.function.clone(),
            stands: false,
        };
        let (work, news, accepted) = (
            inner.work.clone(),
            inner.news.clone(),
            inner.metrics.accepted.clone(),
        );
        let new = Arc::new(new);
        let row = new.clone();
        let conclude = move |_: &Connection, outcome: Result<(), StoreError>, reply: Reply<()>| {
            let mut reservation = reservation;
            if outcome.is_ok() {
                reservation.stands = true;
                new.request.body.keep();
                accepted.inc();
                work.send_replace(());
                news.send_replace(());
            }
            reply.give(outcome);
        };
        inner
            .queue
            .run(
                "accept the invocation",
                move |connection| queue::accept(connection, &row),
                conclude,
            )
            .await
    }

    // ---- asynchronous invocations: running

    /// Changes whenever there is new work to claim: an accept, a release.
    pub fn work(&self) -> watch::Receiver<()> {
        self.inner.work.subscribe()
    }

    /// Every function with accepted invocations that wait or run, by name. In memory; costs nothing to ask.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.inner.counts.all()
    }

    /// How many accepted invocations wait for a function.
    pub fn queued(&self, function: &str) -> u64 {
        self.inner.counts.get(function).queued
    }

    /// Claims up to `limit` of the invocations that wait for a function, the oldest first: they are running from
    /// now on, until [`Store::finish`] or [`Store::release`]; after a crash they wait again.
    ///
    /// # Errors
    /// `Database` where the disk refuses; nothing is claimed then.
    pub async fn claim(&self, function: &str, limit: usize) -> Result<Vec<Accepted>, StoreError> {
        let (bodies, counts) = (self.inner.bodies.clone(), self.inner.counts.clone());
        let (name, work) = (function.to_owned(), self.inner.work.clone());
        let own = name.clone();
        let apply = move |connection: &Connection| queue::claim(connection, &bodies, &own, limit);
        let conclude =
            move |connection: &Connection, outcome: Result<Vec<Accepted>, StoreError>, reply: Reply<_>| {
                let claimed = match outcome {
                    Ok(claimed) => claimed,
                    Err(error) => return reply.give(Err(error)),
                };
                let count = claimed.len() as u64;
                counts.change(&name, |c| {
                    (c.queued, c.running) = (c.queued.saturating_sub(count), c.running + count)
                });
                // Nobody waits for them any longer: back to their places.
                for accepted in reply.offer(claimed).into_iter().flatten() {
                    if let Ok(Some(_)) = queue::release(connection, accepted.record.id) {
                        counts.change(&name, |c| {
                            (c.queued, c.running) = (c.queued + 1, c.running.saturating_sub(1))
                        });
                        work.send_replace(());
                    }
                }
            };
        self.inner.queue.run("claim invocations", apply, conclude).await
    }

    /// Puts a claimed invocation back in its place, since it could not be begun; the attempt does not count.
    ///
    /// # Errors
    /// `Database` where the disk refuses: it is still running then.
    pub async fn release(&self, id: InvocationId) -> Result<(), StoreError> {
        let (counts, work) = (self.inner.counts.clone(), self.inner.work.clone());
        let apply = move |connection: &Connection| queue::release(connection, id);
        let conclude =
            move |_: &Connection, outcome: Result<Option<String>, StoreError>, reply: Reply<()>| {
                if let Ok(Some(function)) = &outcome {
                    counts.change(function, |c| {
                        (c.queued, c.running) = (c.queued + 1, c.running.saturating_sub(1))
                    });
                    work.send_replace(());
                }
                reply.give(outcome.map(|_| ()));
            };
        self.inner
            .queue
            .run("release the invocation", apply, conclude)
            .await
    }

    /// Stores how a claimed invocation ended, together with the response. Durable when this returns `Ok`; may be
    /// tried again after an error. An end that was stored before stands. `record.status` follows from
    /// `record.ending`, `record.ended` is now where it is not set.
    ///
    /// # Errors
    /// `Unknown` where there is no such invocation; `Database` where the disk refuses: it is still running then.
    pub async fn finish(
        &self,
        mut record: Record,
        response: Option<StoredResponse>,
    ) -> Result<(), StoreError> {
        record.status = record
            .ending
            .as_ref()
            .map_or(Status::Failed, |ending| ending.status());
        record.ended = record.ended.or_else(|| Some(Timestamp::now()));
        let (id, function) = (record.id, record.function.clone());
        let (counts, bodies) = (self.inner.counts.clone(), self.inner.bodies.clone());
        let (news, ended) = (self.inner.news.clone(), self.inner.metrics.ended.clone());
        let response = Arc::new(response);
        let stored = response.clone();
        let apply =
            move |connection: &Connection| queue::finish(connection, &record, stored.as_ref().as_ref());
        let conclude = move |_: &Connection, outcome: Result<Finished, StoreError>, reply: Reply<()>| {
            reply.give(match outcome {
                Err(error) => Err(error),
                Ok(Finished::Unknown) => Err(StoreError::Unknown(id)),
                Ok(Finished::Before) => Ok(()),
                Ok(Finished::Now(request_file)) => {
                    if let Some(response) = response.as_ref() {
                        response.body.keep();
                    }
                    remove_body(&bodies, request_file);
                    counts.change(&function, |count| count.running = count.running.saturating_sub(1));
                    ended.inc();
                    news.send_replace(());
                    Ok(())
                }
            });
        };
        self.inner.queue.run("store the end", apply, conclude).await
    }

    /// Notes since when a function is gone (the first time stands), or with `None` that it is back.
    ///
    /// # Errors
    /// `Database` where the disk refuses.
    pub async fn set_absent(&self, function: &str, since: Option<Timestamp>) -> Result<(), StoreError> {
        let known = self.inner.counts.get(function).absent_since;
        if known.is_some() == since.is_some() {
            return Ok(());
        }
        let (counts, name) = (self.inner.counts.clone(), function.to_owned());
        let own = name.clone();
        let apply = move |connection: &Connection| queue::set_absent(connection, &own, since);
        let conclude = move |_: &Connection, outcome: Result<(), StoreError>, reply: Reply<()>| {
            if outcome.is_ok() {
                counts.change(&name, |count| count.absent_since = since);
            }
            reply.give(outcome);
        };
        self.inner
            .queue
            .run("note whether the function is there", apply, conclude)
            .await
    }

    /// Ends up to `limit` of the invocations that wait for a function as `function-removed`; gives back how many.
    ///
    /// # Errors
    /// `Database` where the disk refuses; none is ended then.
    pub async fn fail_removed(
        &self,
        function: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        let (counts, name) = (self.inner.counts.clone(), function.to_owned());
        let (bodies, own) = (self.inner.bodies.clone(), name.clone());
        let (news, ended) = (self.inner.news.clone(), self.inner.metrics.ended.clone());
        let apply = move |connection: &Connection| queue::fail_removed(connection, &own, now, limit);
        let conclude =
            move |_: &Connection, outcome: Result<(u64, Vec<String>), StoreError>, reply: Reply<u64>| {
                reply.give(outcome.map(|(count, files)| {
                    files
                        .into_iter()
                        .for_each(|file| remove_body(&bodies, Some(file)));
                    counts.change(&name, |c| c.queued = c.queued.saturating_sub(count));
                    ended.inc_by(count);
                    news.send_replace(());
                    count
                }));
            };
        self.inner
            .queue
            .run("end the invocations of a removed function", apply, conclude)
            .await
    }

    // ---- asynchronous invocations: looking

    /// What is known of an asynchronous invocation, for whoever has its key; `None` where there is none or the key
    /// is another (which of the two is not told).
    ///
    /// # Errors
    /// `Database` where it can't be read.
    pub async fn look(&self, id: InvocationId, key: &Key) -> Result<Option<Record>, StoreError> {
        let hash = key.hash();
        let found = self
            .inner
            .readers
            .query(move |connection, _| queue::find(connection, "main", id))
            .await?;
        Ok(found.and_then(|(record, stored)| hash.matches(&stored).then_some(record)))
    }

    /// The record and the stored response for whoever has the key. Without a response it is not finished, or ended
    /// without one (the record's ending says why), or the response was larger than may be stored.
    ///
    /// # Errors
    /// `Database` where it can't be read.
    pub async fn result(
        &self,
        id: InvocationId,
        key: &Key,
    ) -> Result<Option<(Record, Option<StoredResponse>)>, StoreError> {
        let Some(record) = self.look(id, key).await? else {
            return Ok(None);
        };
        if !record.status.is_end() {
            return Ok(Some((record, None)));
        }
        let read = move |connection: &Connection, bodies: &Path| queue::response(connection, bodies, id);
        Ok(Some((record, self.inner.readers.query(read).await?)))
    }

    // ---- records and logs

    /// A page of records of every kind, newest first. What was recorded before the call is included.
    ///
    /// # Errors
    /// `Database` where it can't be read.
    pub async fn records(&self, filter: RecordFilter) -> Result<RecordPage, StoreError> {
        self.flush().await;
        self.inner
            .readers
            .query(move |connection, _| crate::read::records(connection, &filter))
            .await
    }

    /// The record whose id begins so.
    ///
    /// # Errors
    /// `Database` where it can't be read.
    pub async fn find(&self, prefix: IdPrefix) -> Result<Found, StoreError> {
        self.flush().await;
        self.inner
            .readers
            .query(move |connection, _| crate::read::find(connection, &prefix))
            .await
    }

    /// The record with this id.
    ///
    /// # Errors
    /// `Database` where it can't be read.
    pub async fn record_of(&self, id: InvocationId) -> Result<Option<Record>, StoreError> {
        self.flush().await;
        self.inner
            .readers
            .query(move |connection, _| crate::read::record(connection, id))
            .await
    }

    /// Log lines, oldest first. What was logged before the call is included.
    ///
    /// # Errors
    /// `Database` where they can't be read.
    pub async fn logs(&self, filter: LogFilter) -> Result<Vec<StoredLine>, StoreError> {
        self.flush().await;
        self.logs_now(filter).await
    }

    pub(crate) async fn logs_now(&self, filter: LogFilter) -> Result<Vec<StoredLine>, StoreError> {
        self.inner
            .readers
            .query(move |connection, _| crate::read::logs(connection, &filter))
            .await
    }

    /// Log lines as they come: what is there already first, then every new one. Where one invocation is asked
    /// for, it ends with that invocation's last line.
    pub fn follow(&self, filter: LogFilter) -> LogFollower {
        LogFollower::new(self.clone(), filter, self.inner.news.subscribe())
    }

    /// Waits until what was recorded and logged by now is written, or until that takes too long.
    pub async fn flush(&self) {
        self.inner.journal.flush().await;
    }

    // ---- keeping within limits

    /// Removes what need not be kept any longer at this time: one run of what the store does by itself every
    /// [`Config::tidy_every`].
    ///
    /// # Errors
    /// `Database` where the disk refuses.
    pub async fn tidy(&self, now: Timestamp) -> Result<Tidied, StoreError> {
        let upkeep = self.inner.upkeep.clone();
        let tidied = tokio::task::spawn_blocking(move || upkeep.tidy(now));
        tidied.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The data directory.
    pub fn directory(&self) -> PathBuf {
        self.inner.config.directory.clone()
    }
}

impl Journal for Store {
    fn record(&self, record: Record) {
        self.inner.journal.record(record);
    }

    fn log(&self, entry: LogEntry) {
        self.inner.journal.log(entry);
    }
}

/// A place in a function's backlog, given back unless its row was committed.
struct Reservation {
    counts: Arc<Counts>,
    function: String,
    stands: bool,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.stands {
            self.counts.change(&self.function, |count| {
                count.queued = count.queued.saturating_sub(1)
            });
        }
    }
}

/// Removes a spilled body that no row names any longer; what fails is found at the next start.
pub(crate) fn remove_body(bodies: &Path, name: Option<String>) {
    if let Some(name) = name {
        let _ = fs::remove_file(bodies.join(name));
    }
}

/// Asynchronous invocations with no recorded end wait again; synchronous ones whose callers are gone with the last
/// process have failed.
fn recover(queue: &Connection, kept: &Connection) -> rusqlite::Result<Counts> {
    queue.execute(
        "UPDATE invocation SET status = 'queued' WHERE status = 'running'",
        [],
    )?;
    kept.execute(
        "UPDATE record SET status = 'failed', ending = 'problem', problem = 'internal', ended = ?1, \
         detail = 'Skep ended before this invocation did' WHERE status IN ('queued', 'running')",
        [columns::Time(Timestamp::now())],
    )?;
    let counts = Counts::default();
    let mut statement = queue
        .prepare("SELECT function, count(*) FROM invocation WHERE status = 'queued' GROUP BY function")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let queued: i64 = row.get(1)?;
        counts.change(&row.get::<_, String>(0)?, |count| count.queued = queued as u64);
    }
    let mut statement = queue.prepare("SELECT function, since FROM absent")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let since = row.get::<_, columns::Time>(1)?.0;
        counts.change(&row.get::<_, String>(0)?, |count| {
            count.absent_since = Some(since)
        });
    }
    Ok(counts)
}

/// Removes the files in `bodies/` that no row names: a crash between writing them and committing.
fn remove_orphans(queue: &Connection, bodies: &Path) -> Result<(), StoreError> {
    let named: HashSet<String> = queue
        .prepare(
            "SELECT request_file FROM invocation WHERE request_file IS NOT NULL \
             UNION SELECT response_file FROM invocation WHERE response_file IS NOT NULL",
        )
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(StoreError::database("recover"))?;
    for entry in fs::read_dir(bodies).map_err(StoreError::file("list", bodies))? {
        let entry = entry.map_err(StoreError::file("list", bodies))?;
        if !named.contains(&*entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(StoreError::file("remove", entry.path()))?;
        }
    }
    Ok(())
}
