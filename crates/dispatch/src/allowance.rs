//! How much of a log is kept: bounds with a remark of Skep's own about what is not.

use std::collections::VecDeque;

use jiff::Timestamp;
use skep_model::{LogLine, LogStream};

/// The bytes kept of what an instance writes before it has an invocation.
const EARLY_LIMIT: usize = 64 * 1024;
/// What a kept line costs beside its text.
const LINE_COST: usize = 64;

/// How much was kept, and how much was not.
#[derive(Default)]
pub(crate) struct Allowance {
    used: u64,
    dropped_lines: u64,
    dropped_bytes: u64,
}

impl Allowance {
    pub(crate) fn admits(&mut self, line: &LogLine, limit: u64) -> bool {
        let size = line.text.len() as u64;
        // Once full it stays full: a log with holes would mislead more than one that stops.
        if self.dropped_lines > 0 || self.used + size > limit {
            self.dropped_lines += 1;
            self.dropped_bytes += size;
            return false;
        }
        self.used += size;
        true
    }

    pub(crate) fn remark(&mut self, limit: u64) -> Option<LogLine> {
        let (lines, bytes) = (
            std::mem::take(&mut self.dropped_lines),
            std::mem::take(&mut self.dropped_bytes),
        );
        if lines == 0 {
            return None;
        }
        self.used = limit;
        Some(skeps_own(format!(
            "{lines} more lines ({bytes} bytes) were dropped: {limit} bytes of log are kept"
        )))
    }
}

fn skeps_own(text: String) -> LogLine {
    LogLine {
        time: Timestamp::now(),
        stream: LogStream::Skep,
        text: text.into(),
    }
}

/// What an instance wrote before it had an invocation: the last of it.
#[derive(Default)]
pub(crate) struct Early {
    lines: VecDeque<LogLine>,
    bytes: usize,
    dropped: u64,
}

impl Early {
    pub(crate) fn push(&mut self, line: LogLine) {
        self.bytes += line.text.len() + LINE_COST;
        self.lines.push_back(line);
        while self.bytes > EARLY_LIMIT {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= oldest.text.len() + LINE_COST;
            self.dropped += 1;
        }
    }

    pub(crate) fn take(&mut self) -> impl Iterator<Item = LogLine> {
        let Self { lines, dropped, .. } = std::mem::take(self);
        let remark = || {
            skeps_own(format!(
                "{dropped} lines written before the first one here were dropped"
            ))
        };
        (dropped > 0).then(remark).into_iter().chain(lines)
    }
}
