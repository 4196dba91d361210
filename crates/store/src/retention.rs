//! Keeping within limits of age and size: an idempotent reconciler that looks at what is there, removes the oldest
//! of what has ended, and does nothing where nothing is to be done. What is queued or running is never removed.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::columns::{Id, Time, lowest_id};
use crate::config::Config;
use crate::error::StoreError;
use crate::metrics::{Database, Kind, Metrics};
use crate::recover::remove_body;
use crate::writer::Writer;

/// How many rows one transaction removes, so that accepting never waits long behind it.
const CHUNK: i64 = 500;

/// What one run removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Ended asynchronous invocations, with their responses.
    pub invocations: u64,
    /// Records of synchronous invocations.
    pub records: u64,
    /// Log lines.
    pub lines: u64,
}

/// What tidying needs to know and to reach.
#[derive(Debug)]
pub(crate) struct Upkeep {
    keep_for: Duration,
    keep_bytes: u64,
    directory: std::path::PathBuf,
    bodies: Arc<Path>,
    queue: Arc<Writer>,
    kept: Arc<Writer>,
    metrics: Metrics,
}

impl Upkeep {
    pub(crate) fn new(
        config: &Config,
        bodies: Arc<Path>,
        queue: Arc<Writer>,
        kept: Arc<Writer>,
        metrics: Metrics,
    ) -> Self {
        let directory = config.directory.clone();
        Self {
            keep_for: config.keep_for,
            keep_bytes: config.keep_bytes,
            directory,
            bodies,
            queue,
            kept,
            metrics,
        }
    }

    /// Removes what is too old, then the oldest of the rest until it fits. Blocks.
    pub(crate) fn tidy(&self, now: Timestamp) -> Result<Tidied, StoreError> {
        let age = SignedDuration::try_from(self.keep_for).unwrap_or(SignedDuration::MAX);
        let oldest_allowed = now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let mut tidied = Tidied::default();
        self.remove_before(oldest_allowed, &mut tidied)?;
        // An eighth of the time that is kept goes at each step: few steps, and never much more than has to go.
        while self.size()? > self.keep_bytes
            && let Some(oldest) = self.oldest()?
        {
            let step = (now.duration_since(oldest) / 8).max(SignedDuration::from_millis(1));
            let before = tidied;
            self.remove_before(oldest.saturating_add(step).unwrap_or(now), &mut tidied)?;
            if tidied == before {
                break;
            }
        }
        self.give_back()?;
        self.count(&tidied);
        Ok(tidied)
    }

    fn remove_before(&self, time: Timestamp, tidied: &mut Tidied) -> Result<(), StoreError> {
        tidied.invocations += self.in_chunks(|| {
            let files = self
                .queue
                .run_blocking("remove old invocations", move |c| remove_ended(c, time))?;
            let count = files.len() as u64;
            files.into_iter().for_each(|file| remove_body(&self.bodies, file));
            Ok(count)
        })?;
        tidied.records += self.in_chunks(|| {
            self.kept
                .run_blocking("remove old records", move |c| remove_records(c, time))
        })?;
        tidied.lines += self.in_chunks(|| {
            self.kept
                .run_blocking("remove old lines", move |c| remove_lines(c, time))
        })?;
        Ok(())
    }

    fn in_chunks(&self, mut remove: impl FnMut() -> Result<u64, StoreError>) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let count = remove()?;
            all += count;
            if count < CHUNK as u64 {
                return Ok(all);
            }
        }
    }

    /// What ended invocations, records and logs take, in bytes.
    fn size(&self) -> Result<u64, StoreError> {
        let kept = self.kept.run_blocking("measure the records", |connection| {
            let pragma =
                |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
            Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
        })?;
        let ended = self.queue.run_blocking("measure the invocations", |connection| {
            let sql = "SELECT ifnull(sum(kept_bytes), 0) FROM invocation WHERE ended IS NOT NULL";
            connection.query_row(sql, [], |row| row.get::<_, i64>(0))
        })?;
        Ok((kept + ended).max(0) as u64)
    }

    /// When the oldest of what may be removed happened.
    fn oldest(&self) -> Result<Option<Timestamp>, StoreError> {
        let ended = self
            .queue
            .run_blocking("find the oldest invocation", |connection| {
                let sql = "SELECT min(ended) FROM invocation WHERE ended IS NOT NULL";
                connection.query_row(sql, [], |row| row.get::<_, Option<Time>>(0))
            })?;
        let (record, line) = self.kept.run_blocking("find the oldest record", |connection| {
            let record = "SELECT id FROM record WHERE status IN ('succeeded', 'failed') ORDER BY id LIMIT 1";
            let line = "SELECT time FROM log ORDER BY sequence LIMIT 1";
            let record = connection
                .query_row(record, [], |row| row.get::<_, Id>(0))
                .optional()?;
            let line = connection
                .query_row(line, [], |row| row.get::<_, Time>(0))
                .optional()?;
            Ok((record.map(Id::invocation), line))
        })?;
        // Records are removed by their ids, hence a record is as old as its id says.
        let record = record.and_then(|id| Timestamp::from_millisecond(id.unix_milliseconds() as i64).ok());
        let times = [ended.map(|time| time.0), record, line.map(|time| time.0)];
        Ok(times.into_iter().flatten().min())
    }

    /// Gives free pages back to the disk.
    fn give_back(&self) -> Result<(), StoreError> {
        for writer in [&self.queue, &self.kept] {
            writer.run_blocking("give space back", |connection| {
                // Each step of this statement frees one page.
                let mut statement = connection.prepare("PRAGMA incremental_vacuum(5000)")?;
                let mut pages = statement.query([])?;
                while pages.next()?.is_some() {}
                Ok(())
            })?;
        }
        Ok(())
    }

    fn count(&self, tidied: &Tidied) {
        let counts = [
            ("invocation", tidied.invocations),
            ("record", tidied.records),
            ("line", tidied.lines),
        ];
        for (kind, count) in counts {
            self.metrics.removed.get_or_create(&Kind { kind }).inc_by(count);
        }
        let measured = [
            ("queue", crate::schema::QUEUE_FILE),
            ("records", crate::schema::KEPT_FILE),
        ];
        for (database, file) in measured {
            let bytes = std::fs::metadata(self.directory.join(file)).map_or(0, |metadata| metadata.len());
            self.metrics
                .bytes
                .get_or_create(&Database { database })
                .set(bytes as i64);
        }
        let files = std::fs::read_dir(&self.bodies).into_iter().flatten().flatten();
        let bodies: u64 = files
            .filter_map(|file| file.metadata().ok())
            .map(|metadata| metadata.len())
            .sum();
        self.metrics
            .bytes
            .get_or_create(&Database { database: "bodies" })
            .set(bodies as i64);
    }
}

fn remove_ended(connection: &Connection, before: Timestamp) -> rusqlite::Result<Vec<Option<String>>> {
    connection
        .prepare_cached(
            "DELETE FROM invocation WHERE sequence IN (SELECT sequence FROM invocation \
             WHERE ended IS NOT NULL AND ended < ?1 ORDER BY ended LIMIT ?2) RETURNING response_file",
        )?
        .query_map(params![Time(before), CHUNK], |row| row.get(0))?
        .collect()
}

fn remove_records(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let removed = connection
        .prepare_cached(
            "DELETE FROM record WHERE id IN (SELECT id FROM record \
             WHERE id < ?1 AND status IN ('succeeded', 'failed') ORDER BY id LIMIT ?2)",
        )?
        .execute(params![lowest_id(before), CHUNK])?;
    Ok(removed as u64)
}

/// Lines are in the order in which they came, so that the first young one ends the search.
fn remove_lines(connection: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let removed = connection
        .prepare_cached(
            "DELETE FROM log WHERE sequence IN ( \
             SELECT sequence FROM (SELECT sequence, time FROM log ORDER BY sequence LIMIT ?2) WHERE time < ?1)",
        )?
        .execute(params![Time(before), CHUNK])?;
    Ok(removed as u64)
}

/// The thread that tidies at its period, until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Tidier {
    stop: Mutex<Option<mpsc::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Tidier {
    pub(crate) fn start(upkeep: Arc<Upkeep>, period: Duration) -> Result<Self, StoreError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let body = move || {
            loop {
                match upkeep.tidy(Timestamp::now()) {
                    Ok(_) => {}
                    Err(StoreError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(error = %error.with_sources(), "can't remove what is too old")
                    }
                }
                if !matches!(stopped.recv_timeout(period), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("skep-tidy".to_owned())
            .spawn(body)
            .map_err(StoreError::file("start the thread of", "retention"))?;
        Ok(Self {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn stop(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}
