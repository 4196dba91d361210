//! Reading beside the writers: a few connections that see both databases, used on blocking threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use skep_model::{InvocationId, LogLine, Record};
use tokio::sync::{Semaphore, watch};

use crate::columns::{self, COLUMNS, Id, Time, lowest_id};
use crate::error::StoreError;
use crate::journal::stream_of;
use crate::query::{Answer, Found, IdPrefix, LogFilter, RecordFilter, RecordPage, StoredLine};
use crate::schema;
use crate::store::Store;

/// How many queries run at once; the others wait.
const AT_ONCE: usize = 4;
/// How many connections are kept open when nobody asks.
const KEPT_OPEN: usize = 1;

#[derive(Debug)]
pub(crate) struct Readers {
    directory: PathBuf,
    bodies: Arc<Path>,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(directory: PathBuf, bodies: Arc<Path>) -> Self {
        Self {
            directory,
            bodies,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            idle: Mutex::default(),
        }
    }

    pub(crate) async fn query<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection, &Path) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer<T> {
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let readers = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            readers.answer(query).map_err(StoreError::database("read"))
        });
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn answer<T>(
        &self,
        query: impl FnOnce(&Connection, &Path) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.directory)?,
        };
        let answer = query(&connection, &self.bodies)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_OPEN && !self.turns.is_closed() {
            idle.push(connection);
        }
        Ok(answer)
    }

    pub(crate) fn close(&self) {
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Conditions of a query with their values, joined by AND.
#[derive(Default)]
struct Conditions {
    text: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, condition: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.text.push(condition);
            self.values.push(value);
        }
    }

    fn to_sql(&self) -> String {
        if self.text.is_empty() {
            "1".to_owned()
        } else {
            self.text.join(" AND ")
        }
    }
}

fn blob(id: &[u8; 16]) -> Value {
    Value::Blob(id.to_vec())
}

/// The rows of both databases, the newest first. The conditions' `?` stand twice, so that the values do as well.
fn merged(connection: &Connection, conditions: Conditions, limit: usize) -> rusqlite::Result<Vec<Record>> {
    let condition = conditions.to_sql();
    let sql = merged_sql(&condition, limit);
    let values = conditions.values.iter().chain(&conditions.values);
    connection
        .prepare(&sql)?
        .query_map(params_from_iter(values), columns::read)?
        .collect()
}

fn merged_sql(condition: &str, limit: usize) -> String {
    format!(
        "SELECT {COLUMNS} FROM main.invocation WHERE {condition} \
         UNION ALL SELECT {COLUMNS} FROM kept.record WHERE {condition} ORDER BY id DESC LIMIT {limit}"
    )
}

pub(crate) fn records(connection: &Connection, filter: &RecordFilter) -> rusqlite::Result<RecordPage> {
    let size = filter.page_size();
    let mut conditions = Conditions::default();
    conditions.add("function = ?", filter.function.clone().map(Value::Text));
    conditions.add(
        "status = ?",
        filter
            .status
            .map(|status| Value::Text(status.as_str().to_owned())),
    );
    // The id begins with the time of arrival, and is what the rows are ordered by.
    conditions.add("id >= ?", filter.since.map(|since| blob(&lowest_id(since))));
    conditions.add("id < ?", filter.before.map(|id| blob(id.as_bytes())));
    let mut records = merged(connection, conditions, size + 1)?;
    let more = records.len() > size;
    records.truncate(size);
    let next = if more {
        records.last().map(|record| record.id)
    } else {
        None
    };
    Ok(RecordPage { records, next })
}

pub(crate) fn find(connection: &Connection, prefix: &IdPrefix) -> rusqlite::Result<Found> {
    let mut conditions = Conditions::default();
    conditions.add("id >= ?", Some(blob(&prefix.lowest)));
    conditions.add("id <= ?", Some(blob(&prefix.highest)));
    let mut found = merged(connection, conditions, 8)?;
    Ok(match found.len() {
        0 => Found::None,
        1 => Found::One(Box::new(found.remove(0))),
        _ => Found::Several(found.iter().map(|record| record.id).collect()),
    })
}

pub(crate) fn record(connection: &Connection, id: InvocationId) -> rusqlite::Result<Option<Record>> {
    let mut conditions = Conditions::default();
    conditions.add("id = ?", Some(blob(id.as_bytes())));
    Ok(merged(connection, conditions, 1)?.pop())
}

pub(crate) fn logs(connection: &Connection, filter: &LogFilter) -> rusqlite::Result<Vec<StoredLine>> {
    let mut conditions = Conditions::default();
    conditions.add("invocation = ?", filter.invocation.map(|id| blob(id.as_bytes())));
    conditions.add("function = ?", filter.function.clone().map(Value::Text));
    conditions.add("instance = ?", filter.instance.map(|id| blob(id.as_bytes())));
    conditions.add(
        "time >= ?",
        filter.since.map(|since| Value::Integer(since.as_microsecond())),
    );
    conditions.add("sequence > ?", filter.after.map(Value::Integer));
    let newest_first = filter.tail.is_some();
    let sql = format!(
        "SELECT sequence, function, instance, invocation, time, stream, text FROM kept.log WHERE {} \
         ORDER BY sequence {} LIMIT {}",
        conditions.to_sql(),
        if newest_first { "DESC" } else { "ASC" },
        filter.page_size()
    );
    let mut lines: Vec<StoredLine> = connection
        .prepare(&sql)?
        .query_map(params_from_iter(conditions.values), read_line)?
        .collect::<rusqlite::Result<_>>()?;
    if newest_first {
        lines.reverse();
    }
    Ok(lines)
}

fn read_line(row: &Row<'_>) -> rusqlite::Result<StoredLine> {
    Ok(StoredLine {
        sequence: row.get(0)?,
        function: row.get(1)?,
        instance: row.get::<_, Id>(2)?.instance(),
        invocation: row.get::<_, Option<Id>>(3)?.map(Id::invocation),
        line: LogLine {
            time: row.get::<_, Time>(4)?.0,
            stream: stream_of(row.get(5)?),
            text: row.get(6)?,
        },
    })
}

/// Log lines as they come; made by [`Store::follow`].
#[derive(Debug)]
pub struct LogFollower {
    store: Store,
    filter: LogFilter,
    news: watch::Receiver<()>,
    /// Whether the invocation that is followed had ended before the last look.
    ended: bool,
}

impl LogFollower {
    pub(crate) fn new(store: Store, filter: LogFilter, news: watch::Receiver<()>) -> Self {
        Self {
            store,
            filter,
            news,
            ended: false,
        }
    }

    /// The next lines, at least one; waits for them. `None` after the last line of an invocation that ended.
    /// May be dropped and called again without losing a line.
    ///
    /// # Errors
    /// `Database` where they can't be read; `Closed` where the store was closed.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredLine>>, StoreError> {
        loop {
            self.news.borrow_and_update();
            let mut filter = self.filter.clone();
            // Of what there is nothing is wanted: the newest line tells from where on.
            let passes_over = filter.tail == Some(0);
            if passes_over {
                filter.tail = Some(1);
            }
            let lines = self.store.logs_now(filter).await?;
            // All that comes from now on is wanted, however many lines come at once.
            self.filter.tail = None;
            if let Some(last) = lines.last() {
                self.filter.after = Some(last.sequence);
                if passes_over {
                    continue;
                }
                return Ok(Some(lines));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(id) = self.filter.invocation
                && self
                    .store
                    .record_of(id)
                    .await?
                    .is_none_or(|record| record.status.is_end())
            {
                // Lines that were logged before the end may still be on their way: one more look, behind them.
                self.store.flush().await;
                self.ended = true;
                continue;
            }
            self.news.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_in_order_from_the_indexes_and_nothing_is_sorted() {
        let directory = tempfile::tempdir().unwrap();
        schema::open_queue(directory.path()).unwrap();
        schema::open_kept(directory.path()).unwrap();
        let connection = schema::open_reader(directory.path()).unwrap();
        for condition in [
            "1",
            "id < 1",
            "function = 'a'",
            "function = 'a' AND id > 1",
            "status = 'failed'",
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", merged_sql(condition, 10));
            let mut statement = connection.prepare(&sql).unwrap();
            let plan: rusqlite::Result<Vec<String>> =
                statement.query_map([], |row| row.get(3)).unwrap().collect();
            let plan = plan.unwrap().join("\n");
            assert!(!plan.contains("TEMP B-TREE"), "{condition}:\n{plan}");
        }
    }
}
