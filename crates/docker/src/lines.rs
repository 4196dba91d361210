//! Bytes into log lines.

use jiff::Timestamp;
use skep_model::log::MAX_LINE;
use skep_model::{LogLine, LogStream};

/// Collects one stream's bytes and gives them out line by line; a line longer than [`MAX_LINE`] comes in pieces.
#[derive(Debug)]
pub struct Lines {
    stream: LogStream,
    rest: Vec<u8>,
    /// With a terminal a line ends in CR LF.
    terminal: bool,
}

impl Lines {
    /// For one stream; `terminal` tells that lines end in CR LF.
    pub fn new(stream: LogStream, terminal: bool) -> Self {
        Self {
            stream,
            rest: Vec::new(),
            terminal,
        }
    }

    /// Takes bytes in; returns the lines that are now complete.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<LogLine> {
        let mut complete = Vec::new();
        while !bytes.is_empty() {
            let room = MAX_LINE - self.rest.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(room.min(bytes.len()));
            self.rest.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            match end {
                Some(_) => bytes = &bytes[1..],
                // The line's end may follow right after a full piece; it belongs to that piece.
                None if self.rest.len() == MAX_LINE && bytes.first() == Some(&b'\n') => bytes = &bytes[1..],
                None if self.rest.len() == MAX_LINE => {}
                None => break,
            }
            complete.push(self.take());
        }
        complete
    }

    /// What is left at the end of the stream without a line's end.
    pub fn finish(&mut self) -> Option<LogLine> {
        (!self.rest.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> LogLine {
        let mut text = std::mem::take(&mut self.rest);
        if self.terminal && text.last() == Some(&b'\r') {
            text.pop();
        }
        LogLine {
            time: Timestamp::now(),
            stream: self.stream,
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[LogLine]) -> Vec<&[u8]> {
        lines.iter().map(|line| line.text.as_slice()).collect()
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_arrive() {
        let mut lines = Lines::new(LogStream::Stderr, false);
        assert!(lines.push(b"he").is_empty());
        assert_eq!(texts(&lines.push(b"llo\n\nwor")), [b"hello".as_slice(), b""]);
        assert_eq!(lines.finish().expect("the partial last line").text, b"wor");
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces() {
        let mut lines = Lines::new(LogStream::Stdout, false);
        let pieces = lines.push(&vec![b'x'; MAX_LINE * 2 + 5]);
        assert_eq!(
            pieces.iter().map(|line| line.text.len()).collect::<Vec<_>>(),
            [MAX_LINE, MAX_LINE]
        );
        assert_eq!(lines.push(b"\n")[0].text.len(), 5);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_one_line() {
        let mut lines = Lines::new(LogStream::Stdout, false);
        let mut text = vec![b'x'; MAX_LINE];
        text.push(b'\n');
        assert_eq!(lines.push(&text).len(), 1);
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_terminals_carriage_return_is_part_of_the_lines_end() {
        assert_eq!(texts(&Lines::new(LogStream::Stdout, true).push(b"a\r\n")), [b"a"]);
        assert_eq!(
            texts(&Lines::new(LogStream::Stdout, false).push(b"a\r\n")),
            [b"a\r"]
        );
    }
}
