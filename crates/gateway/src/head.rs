//! A look at the bytes of a request's head as they come in. hyper takes `Content-Length` away where
//! `Transfer-Encoding` stands beside it, so that nobody behind it could tell.

/// As much of a line as is looked at: the longer of the two names, and its colon.
const PREFIX: usize = "transfer-encoding:".len();

/// What is known of the head that is being read.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// How the line begins that is being read.
    line: [u8; PREFIX],
    length: usize,
    /// There was a line that is not empty, or the beginning of one.
    begun: bool,
    /// The request line was there.
    requested: bool,
    ended: bool,
    content_length: bool,
    transfer_encoding: bool,
}

impl Head {
    /// Looks at further bytes. What comes after the head is not looked at: it may be a body.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while !self.ended && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let room = line.len().min(PREFIX - self.length);
            self.line[self.length..][..room].copy_from_slice(&line[..room]);
            self.length += room;
            self.begun |= self.line[..self.length].iter().any(|byte| *byte != b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if end.is_some() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = &self.line[..self.length];
        // Empty lines before the request line are allowed (RFC 9112, section 2.2).
        self.ended = self.begun && (line.is_empty() || line == b"\r");
        self.requested |= self.begun;
        self.content_length |= is_named(line, b"content-length");
        self.transfer_encoding |= is_named(line, b"transfer-encoding");
        self.length = 0;
    }

    /// Something of it was there.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun && !self.ended
    }

    /// All that was read of it is its request line, and that is not whole.
    pub(crate) fn is_request_line(&self) -> bool {
        self.begun && !self.requested
    }

    /// It says in two ways where its body ends.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.content_length && self.transfer_encoding
    }
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pieces: &[&str]) -> Head {
        let mut head = Head::default();
        for piece in pieces {
            head.read(piece.as_bytes());
        }
        head
    }

    #[test]
    fn both_framings_are_found_however_the_head_is_cut() {
        let whole =
            "\r\nPOST / HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH: 4\r\nTransfer-Encoding:chunked\r\n\r\nabc";
        for cut in 0..whole.len() {
            let (one, two) = whole.split_at(cut);
            let head = head(&[one, two]);
            assert!(head.is_ambiguous() && !head.has_begun(), "{one:?} {two:?}");
        }
        let bytes: Vec<&str> = whole.split_inclusive(|_| true).collect();
        assert!(head(&bytes).is_ambiguous());
    }

    #[test]
    fn one_framing_is_not_ambiguous_whatever_the_body_says() {
        for one in [
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\ncontent-length: 4\r\n",
            "POST / HTTP/1.1\ncontent-length: 30\n\ntransfer-encoding: chunked\r\n",
            "POST / HTTP/1.1\r\nx: content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET /content-length: HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nx-content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(!head(&[one]).is_ambiguous(), "{one:?}");
        }
    }

    #[test]
    fn a_head_has_begun_with_its_first_byte_and_not_with_empty_lines() {
        assert!(!head(&[]).has_begun());
        assert!(!head(&["\r\n\r\n"]).has_begun());
        assert!(head(&["G"]).has_begun() && head(&["\r\n", "G"]).is_request_line());
        let line = head(&["GET / HTTP/1.1\r\n"]);
        assert!(line.has_begun() && !line.is_request_line());
        assert!(!head(&["GET / HTTP/1.1\r\n\r\n"]).has_begun());
    }
}
