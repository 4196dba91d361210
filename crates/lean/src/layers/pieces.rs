//! What Docker streams, read by a thread that unpacks it.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// How an archive ends: two empty blocks (POSIX ustar).
const END: usize = 1024;

/// The pieces of an archive, as one that is read. It waits for the next one, so it is for a thread of its own.
pub(super) struct Pieces {
    arriving: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    /// How many of the last bytes were zero.
    zeros: usize,
}

impl Pieces {
    pub(super) fn new(arriving: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            arriving,
            current: Bytes::new(),
            zeros: 0,
        }
    }

    /// Reads what is left, and says whether the archive had an end: a daemon that fails in the middle of an export
    /// closes the stream as if nothing were the matter.
    pub(super) fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        if self.zeros < END {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "Docker's export breaks off",
            ));
        }
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.arriving.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current[..length]);
        self.current.advance(length);
        let zeros = buffer[..length]
            .iter()
            .rev()
            .take_while(|byte| **byte == 0)
            .count();
        self.zeros = if zeros == length {
            self.zeros + zeros
        } else {
            zeros
        };
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_without_an_end_is_told_from_a_whole_one() {
        let read = |pieces: &[&[u8]]| {
            let (sender, receiver) = mpsc::channel(pieces.len());
            for piece in pieces {
                sender.blocking_send(Ok(Bytes::copy_from_slice(piece))).unwrap();
            }
            drop(sender);
            Pieces::new(receiver).finish()
        };
        assert!(read(&[b"text", &[0; 1000], &[0; 24]]).is_ok());
        for broken in [&[&b"text"[..], &[0; 1000]][..], &[&[0; 1024], b"text"]] {
            let error = read(broken).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
