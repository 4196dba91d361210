//! The only writer of a database: a thread that takes changes from a bounded channel and commits them in groups,
//! so that many callers share one sync. What must always hold: nobody is told of a change before its commit
//! succeeded, and after a failed commit nothing of its group is in the database.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::StoreError;
use crate::files::Lock;
use crate::metrics::{Database, Metrics};

/// How many changes share one commit at most.
const GROUP: usize = 512;

/// A change to the database and what follows from it.
trait Change: Send {
    /// Makes the change, inside the group's transaction and a savepoint of its own.
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Called after the commit, or after its failure.
    fn conclude(self: Box<Self>, connection: &Connection, outcome: Result<(), StoreError>);
}

enum Message {
    Change(Box<dyn Change>),
    Stop,
}

/// How a writer is run.
pub(crate) struct Setup {
    /// For the thread's name and the metrics.
    pub(crate) name: &'static str,
    /// How many changes may wait for the thread.
    pub(crate) capacity: usize,
    /// How long to gather changes before a commit.
    pub(crate) linger: Duration,
    pub(crate) metrics: Metrics,
    /// Held as long as the thread may still write.
    pub(crate) _lock: Arc<Lock>,
}

/// The handle to a writer's thread. With the last handle the thread ends, after what it was given.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: mpsc::Sender<Message>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection, setup: Setup) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(setup.capacity);
        let thread = thread::Builder::new()
            .name(format!("skep-{}", setup.name))
            .spawn(move || work(connection, receiver, setup))
            .map_err(StoreError::file("start the thread of", "the database's writer"))?;
        Ok(Self {
            sender,
            thread: std::sync::Mutex::new(Some(thread)),
        })
    }

    /// Makes a change; returns once it is committed. `conclude` runs on the writer's thread even where the caller
    /// has gone away by then, and gives back what the caller is to have.
    pub(crate) async fn run<T, U>(
        &self,
        action: &'static str,
        apply: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        conclude: impl FnOnce(&Connection, Result<T, StoreError>, Reply<U>) + Send + 'static,
    ) -> Result<U, StoreError>
    where
        T: Send + 'static,
        U: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let step = Step::boxed(action, apply, move |connection: &Connection, outcome| {
            conclude(connection, outcome, Reply(sender));
        });
        self.sender
            .send(Message::Change(step))
            .await
            .map_err(|_| StoreError::Closed)?;
        receiver.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Makes a change for a caller that may block.
    pub(crate) fn run_blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        apply: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let step = Step::boxed(action, apply, move |_: &Connection, outcome| {
            Reply(sender).give(outcome)
        });
        self.sender
            .blocking_send(Message::Change(step))
            .map_err(|_| StoreError::Closed)?;
        receiver.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Makes a change behind the caller's back, who does not wait; false where there is no room for it.
    pub(crate) fn try_run(
        &self,
        action: &'static str,
        apply: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
        conclude: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> bool {
        let step = Step::boxed(action, apply, move |_: &Connection, outcome| conclude(outcome));
        self.sender.try_send(Message::Change(step)).is_ok()
    }

    /// Ends the thread after what was given to it by now, and waits for it.
    pub(crate) fn stop(&self) {
        let _ = self.sender.blocking_send(Message::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// The way back to whoever asked for a change.
pub(crate) struct Reply<U>(oneshot::Sender<Result<U, StoreError>>);

impl<U> Reply<U> {
    pub(crate) fn give(self, answer: Result<U, StoreError>) {
        let _ = self.0.send(answer);
    }

    /// Gives the answer, or gives it back where nobody waits for it any longer.
    pub(crate) fn offer(self, answer: U) -> Option<U> {
        self.0.send(Ok(answer)).err().and_then(Result::ok)
    }
}

struct Step<A, C, T> {
    action: &'static str,
    apply: Option<A>,
    value: Option<T>,
    conclude: C,
}

impl<A, C, T> Step<A, C, T>
where
    A: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    C: FnOnce(&Connection, Result<T, StoreError>) + Send + 'static,
    T: Send + 'static,
{
    fn boxed(action: &'static str, apply: A, conclude: C) -> Box<dyn Change> {
        Box::new(Self {
            action,
            apply: Some(apply),
            value: None,
            conclude,
        })
    }
}

impl<A, C, T> Change for Step<A, C, T>
where
    A: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    C: FnOnce(&Connection, Result<T, StoreError>) + Send,
    T: Send,
{
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(apply) = self.apply.take() {
            self.value = Some(apply(connection)?);
        }
        Ok(())
    }

    fn conclude(self: Box<Self>, connection: &Connection, outcome: Result<(), StoreError>) {
        let Self {
            action,
            apply,
            value,
            conclude,
        } = *self;
        // What a change that was never applied holds is let go before anybody is told.
        drop(apply);
        let named = |error| match error {
            StoreError::Database { source, .. } => StoreError::Database { action, source },
            other => other,
        };
        conclude(
            connection,
            outcome.map_err(named).and(value.ok_or(StoreError::Closed)),
        );
    }
}

fn work(connection: Connection, mut receiver: mpsc::Receiver<Message>, setup: Setup) {
    let label = Database { database: setup.name };
    let mut group = Vec::new();
    let mut stopping = false;
    while !stopping && let Some(first) = receiver.blocking_recv() {
        let mut next = Some(first);
        if !setup.linger.is_zero() {
            thread::sleep(setup.linger);
        }
        while let Some(message) = next {
            match message {
                Message::Change(change) => group.push(change),
                Message::Stop => stopping = true,
            }
            next = if group.len() < GROUP {
                receiver.try_recv().ok()
            } else {
                None
            };
        }
        if group.is_empty() {
            continue;
        }
        let (size, begun) = (group.len(), Instant::now());
        let failed = commit(&connection, &mut group);
        setup.metrics.group.get_or_create(&label).observe(size as f64);
        setup
            .metrics
            .commit
            .get_or_create(&label)
            .observe(begun.elapsed().as_secs_f64());
        if let Some(error) = failed {
            setup.metrics.errors.get_or_create(&label).inc();
            tracing::error!(database = setup.name, error = %error.with_sources(), "a commit failed");
        }
    }
    // The database is closed before the lock goes with the setup.
    drop(connection);
}

/// Applies and commits a group, and concludes each change of it. Gives back why the group failed, where it did.
fn commit(connection: &Connection, group: &mut Vec<Box<dyn Change>>) -> Option<StoreError> {
    let failed = StoreError::database("write");
    let mut own = vec![None; group.len()];
    let whole = (|| {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for (change, own) in group.iter_mut().zip(&mut own) {
            *own = apply(connection, change.as_mut())?;
        }
        connection.execute_batch("COMMIT")
    })();
    if whole.is_err() && !connection.is_autocommit() {
        // Should this fail too, the next BEGIN does, and says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    let whole = whole.map_err(failed);
    for (change, own) in group.drain(..).zip(own) {
        change.conclude(connection, own.map_or_else(|| whole.clone(), Err));
    }
    whole.err()
}

/// Applies one change in a savepoint: what it did wrong (`Some`) is its own affair, unless the whole group is lost.
fn apply(connection: &Connection, change: &mut dyn Change) -> rusqlite::Result<Option<StoreError>> {
    connection.prepare_cached("SAVEPOINT change")?.execute([])?;
    let outcome = change.apply(connection);
    match outcome {
        Ok(()) => {
            connection.prepare_cached("RELEASE change")?.execute([])?;
            Ok(None)
        }
        Err(error) if connection.is_autocommit() || loses_group(&error) => Err(error),
        Err(error) => {
            connection.execute_batch("ROLLBACK TO change; RELEASE change")?;
            Ok(Some(StoreError::database("write")(error)))
        }
    }
}

/// Whether an error is the disk's rather than the change's: trying the others would meet it as well.
fn loses_group(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseCorrupt, DiskFull, OutOfMemory, SystemIoFailure};
    let lost = [
        DiskFull,
        SystemIoFailure,
        OutOfMemory,
        DatabaseCorrupt,
        CannotOpen,
    ];
    error.sqlite_error_code().is_some_and(|code| lost.contains(&code))
}
