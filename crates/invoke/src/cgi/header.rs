//! The header block that a script writes (RFC 3875, section 6).

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{StatusCode, Uri};
use hyper::ext::ReasonPhrase;

/// The most that a script's header may have, in bytes.
pub(crate) const MAX_HEADER: usize = 64 * 1024;

/// What a script answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// A document or a redirect of the client.
    Document {
        status: StatusCode,
        /// What it calls the status, where it does.
        phrase: Option<ReasonPhrase>,
        headers: HeaderMap,
        /// What it says of its body's length, in bytes.
        length: Option<u64>,
    },
    /// The answer is what the server gives for this path and query.
    LocalRedirect(String),
}

/// Takes the header block off the front of what was written; `None` while it is not complete.
pub(crate) fn parse(written: &mut BytesMut) -> Result<Option<Answer>, String> {
    let Some(length) = block(written) else {
        return Ok(None);
    };
    let block = written.split_to(length);
    let mut headers = HeaderMap::new();
    let mut status = None;
    for line in block[..].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (name, value) = field(line)?;
        if name == "status" {
            let value = value.to_str().map_err(|_| "its Status is not text".to_owned())?;
            status = Some(parse_status(value)?);
        } else {
            headers.append(name, value);
        }
    }
    answer(status, headers).map(Some)
}

/// The body's length, where the script says it: once, or the same every time (RFC 9110, section 8.6).
fn length(headers: &mut HeaderMap) -> Result<Option<u64>, String> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes().iter().all(u8::is_ascii_digit);
        let parsed = value.to_str().ok().filter(|_| digits);
        let parsed = parsed.and_then(|text| text.parse().ok());
        if parsed.is_none() || length.is_some_and(|known| Some(known) != parsed) {
            return Err(format!("its Content-Length {value:?} is no length in bytes"));
        }
        length = parsed;
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

/// The length of the block, with the empty line that ends it.
fn block(written: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let end = start + written[start..].iter().position(|byte| *byte == b'\n')?;
        if matches!(&written[start..end], b"" | b"\r") {
            return Some(end + 1);
        }
        start = end + 1;
    }
}

fn field(line: &[u8]) -> Result<(HeaderName, HeaderValue), String> {
    let shown = || String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
    let colon = line.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or_else(|| format!("the line {:?} has no colon", shown()))?;
    let name = HeaderName::from_bytes(&line[..colon]);
    let name = name.map_err(|_| format!("the line {:?} begins with no field name", shown()))?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
    let value = value.map_err(|_| format!("the line {:?} has a control character in its value", shown()))?;
    Ok((name, value))
}

/// A status and what the script calls it.
type Status = (StatusCode, Option<ReasonPhrase>);

fn parse_status(value: &str) -> Result<Status, String> {
    let (code, phrase) = value.split_once(' ').unwrap_or((value, ""));
    let phrase = Some(phrase.trim()).filter(|phrase| !phrase.is_empty());
    let phrase = phrase.and_then(|phrase| ReasonPhrase::try_from(phrase.as_bytes()).ok());
    let status = StatusCode::from_bytes(code.as_bytes()).ok();
    // An interim status has no place here: a script answers once.
    let status = status.filter(|status| !status.is_informational() && status.as_u16() < 600);
    let status = status.map(|status| (status, phrase));
    status.ok_or_else(|| format!("its Status {value:?} is not a status code from 200 to 599"))
}

fn answer(status: Option<Status>, mut headers: HeaderMap) -> Result<Answer, String> {
    let length = length(&mut headers)?;
    let document = |status: Option<Status>, usual, headers| {
        let (status, phrase) = status.unwrap_or((usual, None));
        Answer::Document {
            status,
            phrase,
            headers,
            length,
        }
    };
    let Some(location) = headers.get(LOCATION) else {
        if status.is_none() && !headers.contains_key(CONTENT_TYPE) {
            return Err("it has none of Content-Type, Location and Status".to_owned());
        }
        return Ok(document(status, StatusCode::OK, headers));
    };
    let location = location.to_str().unwrap_or_default();
    // `//host/path` is a reference to another host, not a path of this one.
    let local = location.starts_with('/') && !location.starts_with("//");
    if local && status.is_none() && !headers.contains_key(CONTENT_TYPE) {
        let path = location.split('#').next().unwrap_or_default();
        path.parse::<Uri>()
            .map_err(|_| format!("its Location {location:?} is not a path"))?;
        return Ok(Answer::LocalRedirect(path.to_owned()));
    }
    Ok(document(status, StatusCode::FOUND, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Answer>, String> {
        parse(&mut BytesMut::from(text))
    }

    fn document(text: &str) -> (StatusCode, HeaderMap) {
        match parsed(text) {
            Ok(Some(Answer::Document { status, headers, .. })) => (status, headers),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn a_document_is_200_unless_it_says_otherwise() {
        let (status, headers) = document("Content-Type: text/html\r\n\r\n");
        assert_eq!(
            (status, &headers[CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("text/html"))
        );
        assert_eq!(
            document("Content-type:a/b\nStatus: 404 Not Found\n\n").0,
            StatusCode::NOT_FOUND
        );
        assert_eq!(document("Status: 204\n\n").0, StatusCode::NO_CONTENT);
    }

    #[test]
    fn the_body_stays_behind() {
        let mut written = BytesMut::from("Content-Type: a/b\n\nbody\n\nmore");
        parse(&mut written).unwrap();
        assert_eq!(&written[..], b"body\n\nmore");
    }

    #[test]
    fn an_unfinished_block_waits_for_more() {
        assert_eq!(parsed("Content-Type: a/b\n"), Ok(None));
        assert_eq!(parsed("Content-Type: a/b\r\n\r"), Ok(None));
    }

    #[test]
    fn locations_redirect_the_server_or_the_client() {
        assert_eq!(
            parsed("Location: /a?b\n\n"),
            Ok(Some(Answer::LocalRedirect("/a?b".to_owned())))
        );
        assert_eq!(
            document("Location: https://example.com/\n\n").0,
            StatusCode::FOUND
        );
        assert_eq!(document("Location: //example.com/\n\n").0, StatusCode::FOUND);
        assert_eq!(
            document("Status: 303 See Other\nLocation: /a\n\n").0,
            StatusCode::SEE_OTHER
        );
    }

    #[test]
    fn repeated_fields_are_kept() {
        let (_, headers) = document("Content-Type: a/b\nSet-Cookie: a=1\nSet-Cookie: b=2\n\n");
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn what_is_no_header_says_why() {
        for bad in [
            "\n",
            "X-Only: 1\n\n",
            "<html>\n\n",
            "Status: 99\n\n",
            "Status: 100 Continue\n\n",
            "Status: maybe\n\n",
            "Content-Type : a/b\n\n",
            "Content-Type: a\u{1}b\n\n",
        ] {
            assert!(parsed(bad).is_err(), "{bad:?} was taken");
        }
    }
}
