//! An answer that comes line by line.

use crate::client::Answer;
use crate::exit::Failed;

/// The longest line that is waited for; a log line is far shorter even as JSON.
const MAX_LINE: usize = 1 << 20;

/// Cuts a body into lines as they arrive.
pub(crate) struct Lines {
    answer: Answer,
    rest: Vec<u8>,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(answer: Answer) -> Self {
        Self {
            answer,
            rest: Vec::new(),
            ended: false,
        }
    }

    /// The next line, without its end.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<u8>, Failed>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let after = self.rest.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.rest, after);
                line.pop();
                return Some(Ok(line));
            }
            if self.ended || self.rest.len() > MAX_LINE {
                let line = std::mem::take(&mut self.rest);
                return if line.is_empty() { None } else { Some(Ok(line)) };
            }
            match self.answer.next().await {
                Some(Ok(piece)) => self.rest.extend_from_slice(&piece),
                Some(Err(failed)) => return Some(Err(failed)),
                None => self.ended = true,
            }
        }
    }
}
