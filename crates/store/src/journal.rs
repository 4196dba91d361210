//! Writing behind: records of synchronous invocations and log lines. Nothing here ever waits; what does not fit
//! into the bounded queue is counted instead of kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params, params_from_iter};
use skep_model::{FunctionName, LogEntry, LogStream, Record, Status};
use tokio::sync::watch;

use crate::columns::{self, COLUMNS, PARAMETERS, Time};
use crate::error::StoreError;
use crate::metrics::{self, Metrics};
use crate::quota::{self, Quota};
use crate::writer::{Reply, Setup, Writer};

/// How many bytes may wait to be written.
const WAITING_BYTES: usize = 8 << 20;
/// What an entry costs in memory beside its text, roughly.
const ENTRY_BYTES: usize = 512;
/// How long a reader waits for what was written before it.
const FLUSH: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct WriteBehind {
    writer: Arc<Writer>,
    waiting: Arc<AtomicUsize>,
    quota: Quota,
    metrics: Metrics,
    news: watch::Sender<()>,
}

impl WriteBehind {
    pub(crate) fn start(
        connection: Connection,
        setup: Setup,
        news: watch::Sender<()>,
    ) -> Result<Self, StoreError> {
        let metrics = setup.metrics.clone();
        let writer = Arc::new(Writer::start(connection, setup)?);
        Ok(Self {
            writer,
            waiting: Arc::default(),
            quota: Quota::new(Instant::now()),
            metrics,
            news,
        })
    }

    pub(crate) fn writer(&self) -> Arc<Writer> {
        self.writer.clone()
    }

    pub(crate) fn record(&self, record: Record) {
        let bytes = ENTRY_BYTES + record.path.len();
        self.enqueue("record", bytes, move |connection| put_record(connection, &record));
    }

    /// Whether one more record is kept, as long as its function's quota lasts; else it is counted.
    pub(crate) fn admits(&self, function: &FunctionName, status: Status) -> bool {
        let kind = match status {
            Status::Failed => quota::Kind::Failed,
            Status::Queued | Status::Running | Status::Succeeded => quota::Kind::Succeeded,
        };
        let admitted = self.quota.admits(function.as_str(), kind, Instant::now());
        if !admitted {
            self.dropped("record");
        }
        admitted
    }

    pub(crate) fn log(&self, entry: LogEntry) {
        let bytes = ENTRY_BYTES + entry.line.text.len();
        self.enqueue("line", bytes, move |connection| put_line(connection, &entry));
    }

    /// Keeps records that were kept elsewhere first; waits until they are written.
    pub(crate) async fn mirror(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let news = self.news.clone();
        let put = move |connection: &Connection| {
            records
                .iter()
                .try_for_each(|record| put_record(connection, record))
        };
        let conclude = move |_: &Connection, outcome: Result<(), StoreError>, reply: Reply<()>| {
            news.send_replace(());
            reply.give(outcome);
        };
        self.writer.run("keep records of the queue", put, conclude).await
    }

    /// Waits until what was enqueued by now is written, but not for ever.
    pub(crate) async fn flush(&self) {
        let barrier = self
            .writer
            .run("flush", |_| Ok(()), |_, outcome, reply| reply.give(outcome));
        // Where it takes too long the reader sees what is there, which is all that write-behind promises.
        let _ = tokio::time::timeout(FLUSH, barrier).await;
    }

    fn enqueue(
        &self,
        kind: &'static str,
        bytes: usize,
        put: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        let ticket = Ticket {
            waiting: self.waiting.clone(),
            bytes,
        };
        let full = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES;
        let (metrics, news) = (self.metrics.clone(), self.news.clone());
        let conclude = move |outcome: Result<(), StoreError>| {
            drop(ticket);
            match outcome {
                // Followers wake once per group at most: the channel keeps only that there was something.
                Ok(()) => news.send_replace(()),
                Err(_) => {
                    metrics.dropped.get_or_create(&metrics::Kind { kind }).inc();
                }
            }
        };
        let queued = !full && self.writer.try_run("keep what was written behind", put, conclude);
        if !queued {
            self.dropped(kind);
        }
    }

    fn dropped(&self, kind: &'static str) {
        self.metrics.dropped.get_or_create(&metrics::Kind { kind }).inc();
    }
}

/// A share of the bytes that may wait, given back when it is dropped.
struct Ticket {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn put_record(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let sql = format!("INSERT OR REPLACE INTO record ({COLUMNS}) VALUES ({PARAMETERS})");
    connection
        .prepare_cached(&sql)?
        .execute(params_from_iter(columns::values(record)))?;
    Ok(())
}

fn put_line(connection: &Connection, entry: &LogEntry) -> rusqlite::Result<()> {
    let invocation = entry.invocation.as_ref().map(|id| id.as_bytes().as_slice());
    connection
        .prepare_cached(
            "INSERT INTO log (function, instance, invocation, time, stream, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            entry.function.as_str(),
            entry.instance.as_bytes(),
            invocation,
            Time(entry.line.time),
            stream_number(entry.line.stream),
            entry.line.text,
        ])?;
    Ok(())
}

/// How a stream stands in a row.
pub(crate) fn stream_number(stream: LogStream) -> i64 {
    match stream {
        LogStream::Stdout => 1,
        LogStream::Stderr => 2,
        LogStream::Skep => 3,
    }
}

/// The stream that a row's number stands for.
pub(crate) fn stream_of(number: i64) -> LogStream {
    match number {
        1 => LogStream::Stdout,
        2 => LogStream::Stderr,
        _ => LogStream::Skep,
    }
}
