//! Bringing order at start: what a crash left behind.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;

use crate::columns;
use crate::counts::Counts;
use crate::error::StoreError;

/// Removes a spilled body that no row names any longer; what fails is found at the next start.
pub(crate) fn remove_body(bodies: &Path, name: Option<String>) {
    if let Some(name) = name {
        let _ = fs::remove_file(bodies.join(name));
    }
}

/// Asynchronous invocations with no recorded end wait again; synchronous ones whose callers are gone with the last
/// process have failed. Of asynchronous ones that a Swarm's queue has, that queue says how they are.
pub(crate) fn recover(queue: &Connection, kept: &Connection) -> rusqlite::Result<Counts> {
    queue.execute(
        "UPDATE invocation SET status = 'queued' WHERE status = 'running'",
        [],
    )?;
    kept.execute(
        "UPDATE record SET status = 'failed', ending = 'problem', problem = 'internal', ended = ?1, \
         detail = 'Skep ended before this invocation did' \
         WHERE status IN ('queued', 'running') AND caused_by != 'async'",
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
pub(crate) fn remove_orphans(queue: &Connection, bodies: &Path) -> Result<(), StoreError> {
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
