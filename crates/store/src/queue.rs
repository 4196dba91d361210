//! The queue of asynchronous invocations as rows: each function here is one change, made in a group's transaction.

use std::path::Path;

use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use skep_model::{Ending, InvocationId, Record, Status};

use crate::body::Body;
use crate::columns::{self, COLUMNS, COUNT, Id, PARAMETERS, Time};
use crate::headers;
use crate::invocation::{Accepted, NewInvocation, Request, StoredResponse};

/// What a row costs beside its bodies, roughly; for keeping within `keep_bytes`.
const ROW_BYTES: u64 = 512;

/// Adds an accepted invocation.
pub(crate) fn accept(connection: &Connection, new: &NewInvocation) -> rusqlite::Result<()> {
    let request = &new.request;
    let mut values = columns::values(&new.record).to_vec();
    values.extend([
        Value::Blob(new.key.as_bytes().to_vec()),
        Value::Text(request.method.as_str().to_owned()),
        Value::Text(request.path.clone()),
        Value::Blob(headers::encode(&request.headers)),
        Value::Text(request.context.clone()),
        request
            .body
            .memory()
            .map_or(Value::Null, |bytes| Value::Blob(bytes.to_vec())),
        request
            .body
            .file()
            .map_or(Value::Null, |file| Value::Text(file.name().to_owned())),
        Value::Integer(request.body.length() as i64),
    ]);
    let sql = format!(
        "INSERT INTO invocation ({COLUMNS}, key_hash, request_method, request_path, request_headers, \
         request_context, request_body, request_file, request_length) \
         VALUES ({PARAMETERS}, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32)"
    );
    connection
        .prepare_cached(&sql)?
        .execute(params_from_iter(values))?;
    Ok(())
}

/// Marks the oldest waiting invocations of a function as running and gives them out.
pub(crate) fn claim(
    connection: &Connection,
    bodies: &Path,
    function: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Accepted>> {
    let sql = format!(
        "UPDATE invocation SET status = 'running', attempts = attempts + 1 WHERE sequence IN ( \
             SELECT sequence FROM invocation WHERE status = 'queued' AND function = ?1 ORDER BY sequence LIMIT ?2) \
         RETURNING {COLUMNS}, request_method, request_path, request_headers, request_context, request_body, \
             request_file, request_length, sequence"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![function, limit as i64], |row| {
        Ok((row.get::<_, i64>(COUNT + 7)?, read_accepted(row, bodies)?))
    })?;
    let mut claimed = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    // RETURNING promises no order.
    claimed.sort_by_key(|(sequence, _)| *sequence);
    Ok(claimed.into_iter().map(|(_, accepted)| accepted).collect())
}

fn read_accepted(row: &Row<'_>, bodies: &Path) -> rusqlite::Result<Accepted> {
    let method: String = row.get(COUNT)?;
    Ok(Accepted {
        record: columns::read(row)?,
        request: Request {
            method: Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST),
            path: row.get(COUNT + 1)?,
            headers: headers::decode(&row.get::<_, Vec<u8>>(COUNT + 2)?),
            context: row.get(COUNT + 3)?,
            body: read_body(row, COUNT + 4, bodies)?,
        },
    })
}

/// Reads the three columns of a body: in the row, its file, its length.
fn read_body(row: &Row<'_>, column: usize, bodies: &Path) -> rusqlite::Result<Body> {
    if let Some(name) = row.get::<_, Option<String>>(column + 1)? {
        let length: i64 = row.get(column + 2)?;
        return Ok(Body::stored_file(bodies.join(name), length.max(0) as u64));
    }
    let bytes: Option<Vec<u8>> = row.get(column)?;
    Ok(Body::from(Bytes::from(bytes.unwrap_or_default())))
}

/// Puts a claimed invocation back in its place. The attempt does not count where it was not begun.
/// Gives back the function, or `None` where it was not running.
pub(crate) fn put_back(
    connection: &Connection,
    id: InvocationId,
    attempt_counts: bool,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "UPDATE invocation SET status = 'queued', attempts = attempts - ?2 \
             WHERE id = ?1 AND status = 'running' RETURNING function",
        )?
        .query_row(params![id.as_bytes(), i64::from(!attempt_counts)], |row| {
            row.get(0)
        })
        .optional()
}

/// What became of an attempt to store an end.
#[derive(Debug)]
pub(crate) enum Finished {
    /// It is stored; the request's spilled body, where there was one, is no longer needed.
    Now(Option<String>),
    /// It had one before, which stands.
    Before,
    /// There is no such invocation.
    Unknown,
}

/// Stores a running invocation's end together with its response. Of the record everything is taken but what was
/// known when it was accepted and how often it was begun.
pub(crate) fn finish(
    connection: &Connection,
    record: &Record,
    response: Option<&StoredResponse>,
) -> rusqlite::Result<Finished> {
    let found: Option<(String, Option<String>)> = connection
        .prepare_cached("SELECT status, request_file FROM invocation WHERE id = ?1")?
        .query_row([record.id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((status, request_file)) = found else {
        return Ok(Finished::Unknown);
    };
    if status == Status::Succeeded.as_str() || status == Status::Failed.as_str() {
        return Ok(Finished::Before);
    }
    let body = response.map(|response| &response.body);
    let mut values = columns::values(record).to_vec();
    values.extend([
        response.map_or(Value::Null, |response| {
            Value::Integer(response.status.as_u16().into())
        }),
        response.map_or(Value::Null, |response| {
            Value::Blob(headers::encode(&response.headers))
        }),
        body.and_then(Body::memory)
            .map_or(Value::Null, |bytes| Value::Blob(bytes.to_vec())),
        body.and_then(Body::file)
            .map_or(Value::Null, |file| Value::Text(file.name().to_owned())),
        body.map_or(Value::Null, |body| Value::Integer(body.length() as i64)),
        Value::Integer((ROW_BYTES + body.map_or(0, Body::length)) as i64),
    ]);
    // The parameters are numbered as the columns are: 3 revision, 6 status, 10 started … 17 handler_us, 19 ending ….
    connection
        .prepare_cached(
            "UPDATE invocation SET revision = ?3, status = ?6, started = ?10, ended = ?11, instance = ?12, \
             queue_us = ?13, sandbox_us = ?14, start_us = ?15, ready_us = ?16, handler_us = ?17, ending = ?19, \
             problem = ?20, exit_code = ?21, http_status = ?22, detail = ?23, node = ?24, response_status = ?25, \
             response_headers = ?26, response_body = ?27, response_file = ?28, response_length = ?29, \
             kept_bytes = ?30, request_body = NULL, request_file = NULL, request_headers = NULL WHERE id = ?1",
        )?
        .execute(params_from_iter(values))?;
    Ok(Finished::Now(request_file))
}

/// Ends the oldest waiting invocations of a function that is gone. Gives back how many, and their spilled bodies.
pub(crate) fn fail_removed(
    connection: &Connection,
    function: &str,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(u64, Vec<String>)> {
    let ids: Vec<[u8; 16]> = connection
        .prepare_cached(
            "SELECT id FROM invocation WHERE status = 'queued' AND function = ?1 ORDER BY sequence LIMIT ?2",
        )?
        .query_map(params![function, limit as i64], |row| Ok(row.get::<_, Id>(0)?.0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut files = Vec::new();
    for id in &ids {
        let Some((mut record, _)) = find(connection, "main", InvocationId::from_bytes(*id))? else {
            continue;
        };
        record.ending = Some(Ending::function_removed());
        if let Finished::Now(Some(file)) = finish(connection, &record.closed(now), None)? {
            files.push(file);
        }
    }
    Ok((ids.len() as u64, files))
}

/// Notes that a function is gone since a time, or that it is back.
pub(crate) fn set_absent(
    connection: &Connection,
    function: &str,
    since: Option<Timestamp>,
) -> rusqlite::Result<()> {
    match since {
        Some(since) => connection
            .prepare_cached("INSERT OR IGNORE INTO absent (function, since) VALUES (?1, ?2)")?
            .execute(params![function, Time(since)])?,
        None => connection
            .prepare_cached("DELETE FROM absent WHERE function = ?1")?
            .execute([function])?,
    };
    Ok(())
}

/// An invocation's record and its key's hash.
pub(crate) fn find(
    connection: &Connection,
    schema: &str,
    id: InvocationId,
) -> rusqlite::Result<Option<(Record, Vec<u8>)>> {
    let sql = format!("SELECT {COLUMNS}, key_hash FROM {schema}.invocation WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([id.as_bytes()], |row| Ok((columns::read(row)?, row.get(COUNT)?)))
        .optional()
}

/// An invocation's stored response.
pub(crate) fn response(
    connection: &Connection,
    bodies: &Path,
    id: InvocationId,
) -> rusqlite::Result<Option<StoredResponse>> {
    connection
        .prepare_cached(
            "SELECT response_status, response_headers, response_body, response_file, response_length \
             FROM main.invocation WHERE id = ?1 AND response_status IS NOT NULL",
        )?
        .query_row([id.as_bytes()], |row| {
            Ok(StoredResponse {
                status: StatusCode::from_u16(row.get(0)?).unwrap_or(StatusCode::OK),
                headers: headers::decode(&row.get::<_, Vec<u8>>(1)?),
                body: read_body(row, 2, bodies)?,
            })
        })
        .optional()
}
