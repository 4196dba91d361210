//! The store as its users see it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::registry::Registry;
use skep_model::Record;
use tokio::sync::watch;

use crate::config::Config;
use crate::counts::Counts;
use crate::error::StoreError;
use crate::files::{Lock, make_directory, sync_directory};
use crate::journal::WriteBehind;
use crate::metrics::Metrics;
use crate::read::Readers;
use crate::recover::{recover, remove_orphans};
use crate::retention::{Tidied, Tidier, Upkeep};
use crate::schema;
use crate::writer::{Setup, Writer};

/// The store of one data directory. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) bodies: Arc<Path>,
    pub(crate) queue: Arc<Writer>,
    pub(crate) journal: WriteBehind,
    pub(crate) readers: Arc<Readers>,
    pub(crate) counts: Arc<Counts>,
    /// Told whenever there is something new to claim.
    pub(crate) work: watch::Sender<()>,
    /// Told whenever records or lines were added.
    pub(crate) news: watch::Sender<()>,
    pub(crate) metrics: Metrics,
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

    /// Keeps records of asynchronous invocations whose own place is the queue of a Swarm, so that they are found here
    /// as well.
    ///
    /// # Errors
    /// `Database` where the disk refuses.
    pub async fn mirror(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.inner.journal.mirror(records).await
    }

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
