//! How a [`Record`] stands in a row. Both databases use the same columns, so that one query reads both.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, Value, ValueRef};
use rusqlite::{Row, ToSql};
use skep_model::{
    Ending, EndingKind, InstanceId, InvocationId, Phases, ProblemCode, Record, Status, Trigger,
};

/// The columns of a record, in the order in which [`values`] gives and [`read`] takes them.
pub(crate) const COLUMNS: &str = "id, function, revision, parent, caused_by, status, method, path, received, \
    started, ended, instance, queue_us, sandbox_us, start_us, ready_us, handler_us, attempts, ending, problem, \
    exit_code, http_status, detail, node";
/// As many parameters as there are columns.
pub(crate) const PARAMETERS: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24";
/// How many columns those are.
pub(crate) const COUNT: usize = 24;

/// The values of a record's columns.
pub(crate) fn values(record: &Record) -> [Value; COUNT] {
    let ending = record.ending.as_ref();
    let phases = &record.phases;
    [
        Value::Blob(record.id.as_bytes().to_vec()),
        Value::Text(record.function.clone()),
        text(record.revision.as_deref()),
        record
            .parent
            .map_or(Value::Null, |id| Value::Blob(id.as_bytes().to_vec())),
        text(Some(trigger_word(record.trigger))),
        text(Some(record.status.as_str())),
        Value::Text(record.method.clone()),
        Value::Text(record.path.clone()),
        time(Some(record.received)),
        time(record.started),
        time(record.ended),
        record
            .instance
            .map_or(Value::Null, |id| Value::Blob(id.as_bytes().to_vec())),
        duration(phases.queue),
        duration(phases.sandbox),
        duration(phases.start),
        duration(phases.ready),
        duration(phases.handler),
        Value::Integer(record.attempts.into()),
        text(ending.map(|ending| ending_word(ending.kind))),
        text(ending.and_then(|ending| ending.problem).map(ProblemCode::as_str)),
        ending
            .and_then(|ending| ending.exit_code)
            .map_or(Value::Null, Value::Integer),
        ending
            .and_then(|ending| ending.http_status)
            .map_or(Value::Null, |status| Value::Integer(status.into())),
        text(ending.and_then(|ending| ending.detail.as_deref())),
        text(record.node.as_deref()),
    ]
}

/// Reads a record from the first columns of a row.
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let kind: Option<String> = row.get(18)?;
    let ending = match kind {
        None => None,
        Some(kind) => Some(Ending {
            kind: known(18, &kind, ENDINGS.iter().copied(), ending_word)?,
            problem: match row.get::<_, Option<String>>(19)? {
                Some(code) => Some(known(
                    19,
                    &code,
                    ProblemCode::ALL.iter().copied(),
                    ProblemCode::as_str,
                )?),
                None => None,
            },
            exit_code: row.get(20)?,
            http_status: row.get(21)?,
            detail: row.get(22)?,
        }),
    };
    Ok(Record {
        id: row.get::<_, Id>(0)?.invocation(),
        function: row.get(1)?,
        revision: row.get(2)?,
        parent: row.get::<_, Option<Id>>(3)?.map(Id::invocation),
        trigger: known(
            4,
            &row.get::<_, String>(4)?,
            [Trigger::Request, Trigger::Async],
            trigger_word,
        )?,
        status: known(5, &row.get::<_, String>(5)?, STATES, Status::as_str)?,
        method: row.get(6)?,
        path: row.get(7)?,
        received: row.get::<_, Time>(8)?.0,
        started: row.get::<_, Option<Time>>(9)?.map(|time| time.0),
        ended: row.get::<_, Option<Time>>(10)?.map(|time| time.0),
        instance: row.get::<_, Option<Id>>(11)?.map(Id::instance),
        node: row.get(23)?,
        phases: Phases {
            queue: read_duration(row, 12)?,
            sandbox: read_duration(row, 13)?,
            start: read_duration(row, 14)?,
            ready: read_duration(row, 15)?,
            handler: read_duration(row, 16)?,
        },
        attempts: row.get(17)?,
        ending,
    })
}

/// The 16 bytes of an id.
pub(crate) struct Id(pub(crate) [u8; 16]);

impl Id {
    pub(crate) fn invocation(self) -> InvocationId {
        InvocationId::from_bytes(self.0)
    }

    pub(crate) fn instance(self) -> InstanceId {
        InstanceId::from_bytes(self.0)
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value
            .as_blob()?
            .try_into()
            .map(Self)
            .map_err(|_| FromSqlError::InvalidType)
    }
}

/// A time, kept in microseconds since the Unix epoch.
pub(crate) struct Time(pub(crate) Timestamp);

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let microseconds = value.as_i64()?;
        Timestamp::from_microsecond(microseconds)
            .map(Self)
            .map_err(|_| FromSqlError::OutOfRange(microseconds))
    }
}

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_microsecond().into())
    }
}

/// The lowest id that an invocation of this time can have (RFC 9562: a UUIDv7 begins with 48 bits of milliseconds).
pub(crate) fn lowest_id(time: Timestamp) -> [u8; 16] {
    let milliseconds = u64::try_from(time.as_millisecond()).unwrap_or(0);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    id
}

const STATES: [Status; 4] = [Status::Queued, Status::Running, Status::Succeeded, Status::Failed];
const ENDINGS: [EndingKind; 5] = [
    EndingKind::Completed,
    EndingKind::ExitCode,
    EndingKind::ServerError,
    EndingKind::ClientGone,
    EndingKind::Problem,
];

fn trigger_word(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Request => "request",
        Trigger::Async => "async",
    }
}

fn ending_word(kind: EndingKind) -> &'static str {
    match kind {
        EndingKind::Completed => "completed",
        EndingKind::ExitCode => "exit-code",
        EndingKind::ServerError => "server-error",
        EndingKind::ClientGone => "client-gone",
        EndingKind::Problem => "problem",
    }
}

/// The value that a word stands for. An unknown word is an error: the database is not ours, or is damaged.
fn known<T: Copy>(
    column: usize,
    word: &str,
    values: impl IntoIterator<Item = T>,
    spell: fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    values
        .into_iter()
        .find(|value| spell(*value) == word)
        .ok_or_else(|| {
            let unknown = format!("the unknown word {word:?}").into();
            rusqlite::Error::FromSqlConversionFailure(column, Type::Text, unknown)
        })
}

fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| Value::Integer(time.as_microsecond()))
}

fn duration(duration: Option<Duration>) -> Value {
    let microseconds = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    duration.map_or(Value::Null, |duration| Value::Integer(microseconds(duration)))
}

fn read_duration(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Duration>> {
    Ok(row
        .get::<_, Option<i64>>(column)?
        .map(|microseconds| Duration::from_micros(microseconds.max(0) as u64)))
}
