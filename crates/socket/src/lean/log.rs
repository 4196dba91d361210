//! A child's log: a file of lines with their times, bounded as Docker's is for children, and read by whoever asks.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tokio::sync::watch;

/// How large one of the two files may be.
const LARGEST: u64 = 8 << 20;
/// Where a line without an end is cut.
const LONGEST: usize = 16 << 10;
/// What stands before each line: stream, nanoseconds since 1970, length.
const HEAD: usize = 13;

/// How far it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The number of the file that is written.
    pub(super) file: u64,
    /// The bytes in it.
    pub(super) length: u64,
    /// How often the child has run to its end.
    pub(super) ends: u64,
}

#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    written: watch::Sender<Written>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// 1 for standard output, 2 for standard error.
    pub(super) stream: u8,
    pub(super) nanoseconds: i64,
    pub(super) text: Vec<u8>,
}

impl Log {
    /// Goes on with what is there.
    pub(super) fn open(folder: &Path) -> Self {
        let mut written = Written::default();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name
                .to_string_lossy()
                .strip_prefix("log.")
                .and_then(|text| text.parse().ok());
            if let (Some(file), Ok(metadata)) = (number, entry.metadata())
                && file >= written.file
            {
                (written.file, written.length) = (file, metadata.len());
            }
        }
        Self {
            folder: folder.to_owned(),
            written: watch::Sender::new(written),
        }
    }

    fn path(&self, file: u64) -> PathBuf {
        self.folder.join(format!("log.{file}"))
    }

    /// Adds lines; it writes to the disk.
    pub(super) fn add(&self, stream: u8, nanoseconds: i64, lines: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.push(stream);
            bytes.extend_from_slice(&nanoseconds.to_be_bytes());
            bytes.extend_from_slice(&(line.len() as u32).to_be_bytes());
            bytes.extend_from_slice(line);
        }
        let mut outcome = Ok(());
        // One writer at a time: both streams of a child come here.
        self.written.send_modify(|written| {
            if written.length + bytes.len() as u64 > LARGEST {
                written.file += 1;
                written.length = 0;
                if let Some(old) = written.file.checked_sub(2) {
                    drop(fs::remove_file(self.path(old)));
                }
            }
            let file = File::options()
                .append(true)
                .create(true)
                .open(self.path(written.file));
            outcome = file.and_then(|mut file| file.write_all(&bytes));
            if outcome.is_ok() {
                written.length += bytes.len() as u64;
            }
        });
        outcome
    }

    /// Says that a run has ended, and its output with it.
    pub(super) fn end(&self) {
        self.written.send_modify(|written| written.ends += 1);
    }

    pub(super) fn watch(&self) -> watch::Receiver<Written> {
        self.written.subscribe()
    }

    /// Reads some lines from a place on, up to what is written; gives the place after them. It reads from the disk.
    pub(super) fn read(&self, place: &mut (u64, u64), written: Written) -> io::Result<Vec<Line>> {
        let oldest = written.file.saturating_sub(1);
        if place.0 < oldest {
            *place = (oldest, 0);
        }
        loop {
            let last = place.0 >= written.file;
            let chunk = match File::open(self.path(place.0)) {
                Ok(mut file) => {
                    let end = if last {
                        written.length
                    } else {
                        file.metadata()?.len()
                    };
                    file.seek(SeekFrom::Start(place.1))?;
                    let mut bytes = Vec::new();
                    file.take(end.saturating_sub(place.1).min(1 << 20))
                        .read_to_end(&mut bytes)?;
                    bytes
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            let (lines, used) = parse(&chunk);
            place.1 += used as u64;
            if !lines.is_empty() || last {
                return Ok(lines);
            }
            *place = (place.0 + 1, 0);
        }
    }
}

fn parse(bytes: &[u8]) -> (Vec<Line>, usize) {
    let (mut lines, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + HEAD) {
        let (time, length) = head[1..].split_at(8);
        let nanoseconds = i64::from_be_bytes(time.try_into().unwrap_or_default());
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize;
        let Some(text) = bytes.get(at + HEAD..at + HEAD + length) else {
            break;
        };
        lines.push(Line {
            stream: head[0],
            nanoseconds,
            text: text.to_vec(),
        });
        at += HEAD + length;
    }
    (lines, at)
}

/// Cuts output into lines.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    rest: Vec<u8>,
}

impl Cutter {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        self.rest.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            let rest = &self.rest[start..];
            let end = rest.iter().take(LONGEST).position(|byte| *byte == b'\n');
            let length = match end {
                Some(end) => end + 1,
                None if rest.len() >= LONGEST => LONGEST,
                None => break,
            };
            lines.push(rest[..length].to_vec());
            start += length;
        }
        self.rest.drain(..start);
        lines
    }

    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.rest)).filter(|rest| !rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_line_by_line_also_over_two_files() {
        let folder = std::env::temp_dir().join(format!("skep-log-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&folder).unwrap();
        let log = Log::open(&folder);
        let line = vec![b'x'; LONGEST];
        for number in 0..750 {
            log.add(1, number, std::slice::from_ref(&line)).unwrap();
        }
        let mut place = (0, 0);
        let mut times = Vec::new();
        let written = *log.watch().borrow();
        loop {
            let lines = log.read(&mut place, written).unwrap();
            if lines.is_empty() && place == (written.file, written.length) {
                break;
            }
            times.extend(lines.iter().map(|line| line.nanoseconds));
        }
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(times, (0..750).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.push(b"a\nb"), [b"a\n".to_vec()]);
        assert_eq!(cutter.finish(), Some(b"b".to_vec()));
        assert_eq!(cutter.push(&vec![0; LONGEST + 1]).len(), 1);
    }
}
