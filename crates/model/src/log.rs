//! One line of what an instance wrote.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which of its two streams an instance wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output (an `http` instance's only; for `exec` and `cgi` it is the response).
    Stdout,
    /// Standard error.
    Stderr,
    /// Skep's own remark about the invocation, in its log so that it is read where one looks.
    Skep,
}

/// A line, or a piece of one that was longer than a line may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read from the instance.
    pub time: Timestamp,
    /// Where it was written to.
    pub stream: LogStream,
    /// What was written, without the line's end; bytes, since nobody promised UTF-8.
    pub text: Vec<u8>,
}

/// The longest line kept in one piece, in bytes; a longer one is split.
pub const MAX_LINE: usize = 16 * 1024;
