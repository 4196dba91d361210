//! What the store keeps, as the control listener shows it.

use futures::stream::{self, BoxStream, StreamExt};
use skep_control::{InvocationFilter, LogFilter, api, view};
use skep_model::{InvocationId, Problem};
use skep_store::{RecordFilter, Store, StoredLine};

/// With less room than this no invocation is accepted for long.
const LEAST_ROOM: u64 = 16 << 20;

/// Whether the store can be written.
pub(super) fn check(store: &Store) -> api::Check {
    let directory = store.directory();
    let detail = match rustix::fs::statvfs(&directory) {
        Ok(status) if status.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => {
            Some("the data directory can only be read".to_owned())
        }
        Ok(status) if status.f_bavail.saturating_mul(status.f_frsize) < LEAST_ROOM => {
            Some("the data directory's disk is full".to_owned())
        }
        Ok(_) => None,
        Err(error) => Some(format!("the data directory can't be used: {error}")),
    };
    api::Check {
        name: "store".to_owned(),
        ok: detail.is_none(),
        detail,
    }
}

/// A page of invocations.
pub(super) async fn page(store: &Store, filter: InvocationFilter) -> Result<Vec<api::Invocation>, Problem> {
    let filter = RecordFilter {
        function: filter.function,
        status: filter.status,
        since: filter.since,
        before: filter.before,
        limit: filter.limit as usize,
    };
    let page = store.records(filter).await.map_err(|error| error.problem())?;
    Ok(page.records.iter().map(view::invocation).collect())
}

/// One invocation.
pub(super) async fn one(store: &Store, id: InvocationId) -> Result<Option<api::Invocation>, Problem> {
    let record = store.record_of(id).await.map_err(|error| error.problem())?;
    Ok(record.as_ref().map(view::invocation))
}

/// Lines of logs.
pub(super) fn logs(store: &Store, filter: LogFilter) -> BoxStream<'static, Result<api::LogLine, Problem>> {
    let follow = filter.follow;
    let filter = skep_store::LogFilter {
        invocation: filter.invocation,
        function: filter.function,
        since: filter.since,
        tail: filter.tail.map(|tail| tail as usize),
        ..Default::default()
    };
    if follow {
        followed(store, filter)
    } else {
        kept(store, filter)
    }
}

/// What was written up to now, page by page.
fn kept(store: &Store, filter: skep_store::LogFilter) -> BoxStream<'static, Result<api::LogLine, Problem>> {
    let pages = stream::try_unfold(Some((store.clone(), filter)), |state| async move {
        let Some((store, mut filter)) = state else {
            return Ok(None);
        };
        let lines = store
            .logs(filter.clone())
            .await
            .map_err(|error| error.problem())?;
        let Some(last) = lines.last().map(|line| line.sequence) else {
            return Ok(None);
        };
        // The last so many lines come at once; there is nothing behind them.
        let next = if filter.tail.is_some() {
            None
        } else {
            filter.after = Some(last);
            Some((store, filter))
        };
        Ok(Some((lines, next)))
    });
    flattened(pages)
}

/// What was written up to now, and what comes.
fn followed(
    store: &Store,
    filter: skep_store::LogFilter,
) -> BoxStream<'static, Result<api::LogLine, Problem>> {
    let pages = stream::try_unfold(store.follow(filter), |mut follower| async move {
        let lines = follower.next().await.map_err(|error| error.problem())?;
        Ok(lines.map(|lines| (lines, follower)))
    });
    flattened(pages)
}

fn flattened(
    pages: impl stream::Stream<Item = Result<Vec<StoredLine>, Problem>> + Send + 'static,
) -> BoxStream<'static, Result<api::LogLine, Problem>> {
    pages
        .flat_map(|page| {
            let lines: Vec<Result<api::LogLine, Problem>> = match page {
                Ok(lines) => lines.iter().map(|line| Ok(log_line(line))).collect(),
                Err(problem) => vec![Err(problem)],
            };
            stream::iter(lines)
        })
        .boxed()
}

fn log_line(stored: &StoredLine) -> api::LogLine {
    api::LogLine {
        time: stored.line.time,
        function: stored.function.clone(),
        instance: stored.instance.to_string(),
        invocation: stored.invocation.map(|id| id.to_string()),
        stream: stored.line.stream,
        text: String::from_utf8_lossy(&stored.line.text).into_owned(),
        node: None,
    }
}
