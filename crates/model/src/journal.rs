//! Where records and logs go: the narrow door between what runs invocations and what keeps them.

use crate::id::{InstanceId, InvocationId};
use crate::invocation::{Record, Status};
use crate::log::LogLine;
use crate::name::FunctionName;

/// A log line and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The function whose instance wrote it.
    pub function: FunctionName,
    /// The instance that wrote it.
    pub instance: InstanceId,
    /// The invocation it belongs to; `None` where that can't be known for certain (several at once, or none).
    pub invocation: Option<InvocationId>,
    /// What was written.
    pub line: LogLine,
}

/// Keeps records and logs, written behind. No call waits: under overload an entry is counted instead of kept.
pub trait Journal: Send + Sync + 'static {
    /// Keeps what is known of an invocation now, in place of what was known of it before.
    ///
    /// For synchronous invocations only; accepted asynchronous ones are never written behind.
    fn record(&self, record: Record);

    /// Whether to keep the record of an invocation that has ended so, and of which nothing was kept before. Of a
    /// function that has many of them in a short time, some are counted instead: then it need not even be made.
    fn admits(&self, _function: &FunctionName, _status: Status) -> bool {
        true
    }

    /// Keeps a line of an instance's log.
    fn log(&self, entry: LogEntry);
}
