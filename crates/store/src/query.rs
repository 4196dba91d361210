//! What can be asked about records and logs.

use std::str::FromStr;

use jiff::Timestamp;
use skep_model::{InstanceId, InvocationId, LogLine, Record, Status};

use crate::error::StoreError;

/// Which records are wanted; every field that is set narrows. The newest come first.
#[derive(Debug, Clone, Default)]
pub struct RecordFilter {
    /// Only of this function.
    pub function: Option<String>,
    /// Only with this status.
    pub status: Option<Status>,
    /// Only those that arrived at this time or later.
    pub since: Option<Timestamp>,
    /// Only those older than this one: the cursor of the page before.
    pub before: Option<InvocationId>,
    /// How many at most; 0 is taken as 100, and 1,000 is the most.
    pub limit: usize,
}

/// A page of records.
#[derive(Debug, Clone)]
pub struct RecordPage {
    /// The records, newest first.
    pub records: Vec<Record>,
    /// [`RecordFilter::before`] of the next page; `None` where this is the last.
    pub next: Option<InvocationId>,
}

/// What an id, or its beginning, stands for.
#[derive(Debug, Clone)]
pub enum Found {
    /// No record's id begins so.
    None,
    /// Exactly this one's does.
    One(Box<Record>),
    /// Those of several do; some of them, newest first.
    Several(Vec<InvocationId>),
}

/// The beginning of an invocation's id (4 hexadecimal digits or more, hyphens ignored), or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPrefix {
    pub(crate) lowest: [u8; 16],
    pub(crate) highest: [u8; 16],
}

/// A text that no invocation's id begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the beginning of an invocation's id; that is 4 to 32 hexadecimal digits, hyphens aside")]
pub struct IdPrefixError;

impl FromStr for IdPrefix {
    type Err = IdPrefixError;

    fn from_str(text: &str) -> Result<Self, IdPrefixError> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| *c != '-')
            .map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect();
        let digits = digits
            .filter(|digits| (4..=32).contains(&digits.len()))
            .ok_or(IdPrefixError)?;
        let (mut lowest, mut highest) = ([0; 16], [0xff; 16]);
        for (place, digit) in digits.into_iter().enumerate() {
            let shift = if place % 2 == 0 { 4 } else { 0 };
            lowest[place / 2] |= digit << shift;
            highest[place / 2] &= !(0x0f << shift) | (digit << shift);
        }
        Ok(Self { lowest, highest })
    }
}

/// Whose log lines are wanted; every field that is set narrows. The oldest come first.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Only of this invocation.
    pub invocation: Option<InvocationId>,
    /// Only of this function.
    pub function: Option<String>,
    /// Only of this instance.
    pub instance: Option<InstanceId>,
    /// Only lines of this time or later.
    pub since: Option<Timestamp>,
    /// Only the last so many of them.
    pub tail: Option<usize>,
    /// Only lines after this one: [`StoredLine::sequence`] of the last that was seen.
    pub after: Option<i64>,
    /// How many at most in one answer, the oldest first (the newest with `tail`); 0 is taken as 1,000, and
    /// 10,000 is the most.
    pub limit: usize,
}

/// A log line and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLine {
    /// Its place in the order of all lines; grows, with gaps.
    pub sequence: i64,
    /// The function whose instance wrote it.
    pub function: String,
    /// The instance that wrote it.
    pub instance: InstanceId,
    /// The invocation it belongs to, where that is known.
    pub invocation: Option<InvocationId>,
    /// What was written.
    pub line: LogLine,
}

impl RecordFilter {
    pub(crate) fn page_size(&self) -> usize {
        if self.limit == 0 {
            100
        } else {
            self.limit.min(1_000)
        }
    }
}

impl LogFilter {
    pub(crate) fn page_size(&self) -> usize {
        let limit = if self.limit == 0 {
            1_000
        } else {
            self.limit.min(10_000)
        };
        self.tail.map_or(limit, |tail| tail.min(10_000))
    }
}

/// The answer of a query.
pub(crate) type Answer<T> = Result<T, StoreError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_spans_every_id_that_begins_so() {
        let prefix: IdPrefix = "0199a-3".parse().unwrap();
        assert_eq!(&prefix.lowest[..4], &[0x01, 0x99, 0xa3, 0x00]);
        assert_eq!(&prefix.highest[..4], &[0x01, 0x99, 0xa3, 0xff]);
        let odd: IdPrefix = "0199a".parse().unwrap();
        assert_eq!((odd.lowest[2], odd.highest[2]), (0xa0, 0xaf));
        let id = InvocationId::generate();
        let whole: IdPrefix = id.to_string().parse().unwrap();
        assert_eq!((whole.lowest, whole.highest), (*id.as_bytes(), *id.as_bytes()));
    }

    #[test]
    fn what_can_not_begin_an_id_is_refused() {
        for bad in ["", "abc", "hello", "0199g3", &"0".repeat(33)] {
            assert_eq!(bad.parse::<IdPrefix>(), Err(IdPrefixError), "{bad}");
        }
    }
}
