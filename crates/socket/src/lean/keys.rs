//! The keys by which a client leaves a terminal: the process behind it goes on.

use bytes::Bytes;
use skep_grant::Refusal;

/// Ctrl-P, Ctrl-Q.
const USUAL: [u8; 2] = [16, 17];

/// Watches for the keys in what a client types.
#[derive(Debug)]
pub(super) struct Keys {
    sequence: Vec<u8>,
    /// How many of them came last.
    seen: usize,
}

impl Keys {
    /// Keys as requests write them (`ctrl-a,x`); the usual ones where they write none.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::malformed(format!("Invalid detach keys ({text}) provided"));
        let key = |name: &str| match name.as_bytes() {
            [one] => Some(*one),
            _ => match name.strip_prefix("ctrl-")?.as_bytes() {
                [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
                [b'@'] => Some(0),
                [sign @ b'['..=b'_'] => Some(sign - b'[' + 27),
                _ => None,
            },
        };
        let mut sequence = USUAL.to_vec();
        if !text.is_empty() {
            let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
            sequence = keys.ok_or_else(wrong)?;
        }
        Ok(Self { sequence, seen: 0 })
    }

    /// What of these bytes goes on to the process, and whether the client leaves. The beginning of a sequence is held
    /// back until it is known not to be one.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (Bytes, bool) {
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.sequence.get(self.seen) != Some(byte) {
                passed.extend_from_slice(&self.sequence[..self.seen]);
                self.seen = 0;
            }
            if self.sequence.get(self.seen) == Some(byte) {
                self.seen += 1;
            } else {
                passed.push(*byte);
            }
            if self.seen == self.sequence.len() {
                return (passed.into(), true);
            }
        }
        (passed.into(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_leaves_however_it_is_cut_and_everything_else_goes_on() {
        let mut keys = Keys::parse("").unwrap();
        assert_eq!(keys.pass(b"ab\x10"), (Bytes::from_static(b"ab"), false));
        assert_eq!(keys.pass(b"c\x10\x10"), (Bytes::from_static(b"\x10c\x10"), false));
        assert_eq!(keys.pass(b"\x11never"), (Bytes::new(), true));
    }

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        for (text, read) in [
            ("a", Some(vec![97])),
            ("ctrl-a,x", Some(vec![1, 120])),
            ("ctrl-@,ctrl-[,ctrl-_", Some(vec![0, 27, 31])),
            ("ctrl-A", None),
            ("ab", None),
            ("a,,b", None),
        ] {
            assert_eq!(Keys::parse(text).ok().map(|keys| keys.sequence), read, "{text}");
        }
    }
}
