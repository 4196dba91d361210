//! The two databases: how they are opened, their tables, and how an older one is brought up to date.
//!
//! Each migration is one step of `PRAGMA user_version`, applied in a transaction of its own; a step that was once
//! released is never changed, a new one is added behind it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;

/// The file of the queue: asynchronous invocations, each commit synced.
pub(crate) const QUEUE_FILE: &str = "skep.sqlite";
/// The file of what is written behind: records of synchronous invocations, logs.
pub(crate) const KEPT_FILE: &str = "records.sqlite";

/// `due`, `retries_left`, `dead_letter` and `dedup_key` are room for what is to come: retry policies, schedules,
/// dead letters, deduplication. Today `due` is 0 and the others are null.
const QUEUE_MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE invocation (
        id BLOB NOT NULL UNIQUE, function TEXT NOT NULL, revision TEXT, parent BLOB, caused_by TEXT NOT NULL,
        status TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, received INTEGER NOT NULL,
        started INTEGER, ended INTEGER, instance BLOB, queue_us INTEGER, sandbox_us INTEGER, start_us INTEGER,
        ready_us INTEGER, handler_us INTEGER, attempts INTEGER NOT NULL, ending TEXT, problem TEXT,
        exit_code INTEGER, http_status INTEGER, detail TEXT,
        sequence INTEGER PRIMARY KEY,
        key_hash BLOB NOT NULL,
        due INTEGER NOT NULL DEFAULT 0,
        retries_left INTEGER,
        dead_letter INTEGER,
        dedup_key TEXT,
        request_method TEXT NOT NULL, request_path TEXT NOT NULL, request_headers BLOB,
        request_context TEXT, request_body BLOB, request_file TEXT, request_length INTEGER NOT NULL,
        response_status INTEGER, response_headers BLOB, response_body BLOB, response_file TEXT,
        response_length INTEGER,
        kept_bytes INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX invocation_waiting ON invocation (function, sequence) WHERE status = 'queued';
    CREATE INDEX invocation_running ON invocation (status) WHERE status = 'running';
    CREATE INDEX invocation_ended ON invocation (ended, kept_bytes) WHERE ended IS NOT NULL;
    CREATE INDEX invocation_of_function ON invocation (function, id);
    CREATE TABLE absent (function TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT;
",
    "ALTER TABLE invocation ADD COLUMN node TEXT",
];

const KEPT_MIGRATIONS: &[&str] = &["
    CREATE TABLE record (
        id BLOB NOT NULL PRIMARY KEY, function TEXT NOT NULL, revision TEXT, parent BLOB, caused_by TEXT NOT NULL,
        status TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, received INTEGER NOT NULL,
        started INTEGER, ended INTEGER, instance BLOB, queue_us INTEGER, sandbox_us INTEGER, start_us INTEGER,
        ready_us INTEGER, handler_us INTEGER, attempts INTEGER NOT NULL, ending TEXT, problem TEXT,
        exit_code INTEGER, http_status INTEGER, detail TEXT
    ) STRICT;
    CREATE INDEX record_of_function ON record (function, id);
    CREATE INDEX record_open ON record (status) WHERE status IN ('queued', 'running');
    CREATE TABLE log (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        function TEXT NOT NULL, instance BLOB NOT NULL, invocation BLOB, time INTEGER NOT NULL,
        stream INTEGER NOT NULL, text BLOB NOT NULL
    ) STRICT;
    CREATE INDEX log_of_function ON log (function, sequence);
    CREATE INDEX log_of_instance ON log (instance, sequence);
    CREATE INDEX log_of_invocation ON log (invocation, sequence) WHERE invocation IS NOT NULL;
", "ALTER TABLE record ADD COLUMN node TEXT"];

/// Opens the queue for its writer: every commit is on the disk when it returns.
pub(crate) fn open_queue(directory: &Path) -> Result<Connection, StoreError> {
    open(&directory.join(QUEUE_FILE), "FULL", QUEUE_MIGRATIONS)
}

/// Opens records and logs for their writer: a power cut may take the last commits, never the file's integrity.
pub(crate) fn open_kept(directory: &Path) -> Result<Connection, StoreError> {
    open(&directory.join(KEPT_FILE), "NORMAL", KEPT_MIGRATIONS)
}

/// Opens both for reading, the second under the name `kept`.
pub(crate) fn open_reader(directory: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join(QUEUE_FILE), flags)?;
    connection.busy_timeout(BUSY)?;
    let kept = directory.join(KEPT_FILE);
    connection.execute("ATTACH DATABASE ?1 AS kept", [kept.to_string_lossy()])?;
    // In KiB where negative: little, since an idle Skep is to stay small; the system caches the files anyway.
    connection.execute_batch("PRAGMA main.cache_size = -256; PRAGMA kept.cache_size = -256;")?;
    Ok(connection)
}

/// How long to wait for another process (a person's `sqlite3`) that has a database locked.
const BUSY: Duration = Duration::from_secs(5);

fn open(path: &Path, synchronous: &str, migrations: &[&str]) -> Result<Connection, StoreError> {
    let failed = StoreError::database("open");
    let mut connection = Connection::open(path).map_err(&failed)?;
    connection.busy_timeout(BUSY).map_err(&failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    // auto_vacuum has to come before the first table; it lets retention give space back to the disk.
    let pragmas = format!(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
         PRAGMA cache_size = -1024; PRAGMA journal_size_limit = 8388608; PRAGMA temp_store = MEMORY;"
    );
    connection.execute_batch(&pragmas).map_err(&failed)?;
    migrate(&mut connection, path, migrations)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    let failed = StoreError::database("bring the schema up to date");
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(&failed)?;
    let known = migrations.len() as i64;
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (version, step) in (1..).zip(migrations).skip(found as usize) {
        let transaction = connection.transaction().map_err(&failed)?;
        transaction.execute_batch(step).map_err(&failed)?;
        transaction
            .execute_batch(&format!("PRAGMA user_version = {version}"))
            .map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{self, COLUMNS};

    #[test]
    fn a_new_step_is_applied_once_to_an_older_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.sqlite");
        drop(open(&path, "FULL", &["CREATE TABLE one (a)"]).unwrap());
        for _ in 0..2 {
            let connection = open(&path, "FULL", &["CREATE TABLE one (a)", "CREATE TABLE two (a)"]).unwrap();
            connection.execute("INSERT INTO two VALUES (1)", []).unwrap();
        }
    }

    #[test]
    fn a_queue_and_records_of_the_first_version_are_brought_up_to_date_with_what_is_in_them() {
        let directory = tempfile::tempdir().unwrap();
        for (file, migrations, table, more) in [
            (
                QUEUE_FILE,
                QUEUE_MIGRATIONS,
                "invocation",
                [
                    "key_hash, request_method, request_path, request_length",
                    "x'', 'POST', '/', 0",
                ],
            ),
            (KEPT_FILE, KEPT_MIGRATIONS, "record", ["detail", "NULL"]),
        ] {
            let path = directory.path().join(file);
            let insert = format!(
                "INSERT INTO {table} (id, function, caused_by, status, method, path, received, attempts, {}) \
                 VALUES (zeroblob(16), 'work', 'async', 'queued', 'POST', '/', 0, 1, {})",
                more[0], more[1]
            );
            let older = open(&path, "FULL", &migrations[..1]).unwrap();
            older.execute(&insert, []).unwrap();
            drop(older);
            let connection = open(&path, "FULL", migrations).unwrap();
            let select = format!("SELECT {COLUMNS} FROM {table}");
            let record = connection.query_row(&select, [], columns::read).unwrap();
            assert_eq!((record.function.as_str(), record.node), ("work", None));
        }
    }

    #[test]
    fn a_database_of_a_newer_skep_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.sqlite");
        drop(open(&path, "FULL", &["CREATE TABLE one (a)", "CREATE TABLE two (a)"]).unwrap());
        let error = open(&path, "FULL", &["CREATE TABLE one (a)"]).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}
