//! Records and logs: keeping them behind, listing, finding and following them.

use skep_model::{FunctionName, InvocationId, Journal, LogEntry, Record, Status};

use crate::error::StoreError;
use crate::query::{Found, IdPrefix, LogFilter, RecordFilter, RecordPage, StoredLine};
use crate::read::LogFollower;
use crate::store::Store;

impl Store {
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
}

impl Journal for Store {
    fn record(&self, record: Record) {
        self.inner.journal.record(record);
    }

    fn admits(&self, function: &FunctionName, status: Status) -> bool {
        self.inner.journal.admits(function, status)
    }

    fn log(&self, entry: LogEntry) {
        self.inner.journal.log(entry);
    }
}
