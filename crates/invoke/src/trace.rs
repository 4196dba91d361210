//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): one trace through callers, Skep and functions.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use skep_model::InvocationId;

use crate::headers::INVOCATION;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of an invocation's id.
const ID_LENGTH: usize = 36;

/// An invocation's place in its trace.
///
/// Its span is the random half of the invocation's id, and so is a new trace's id the invocation's own: who has one
/// finds the other without a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    traceparent: [u8; LENGTH],
    continued: bool,
}

/// The length of a `traceparent` of version 00: version, trace, span and flags, with hyphens between them.
const LENGTH: usize = 55;
const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;

impl Trace {
    /// Continues the trace that a request's header names, or begins one.
    pub fn of(headers: &HeaderMap, id: InvocationId) -> Self {
        let incoming = single(headers).and_then(parse);
        let bytes = id.as_bytes();
        let mut traceparent = *b"00-00000000000000000000000000000000-0000000000000000-01";
        if let Some((trace, flags)) = incoming {
            traceparent[TRACE].copy_from_slice(trace.as_bytes());
            traceparent[FLAGS].copy_from_slice(flags.as_bytes());
        } else {
            write_hexadecimal(&mut traceparent[TRACE], bytes);
        }
        write_hexadecimal(&mut traceparent[SPAN], &bytes[8..]);
        Self {
            traceparent,
            continued: incoming.is_some(),
        }
    }

    /// The field's value, as it is sent on.
    pub fn traceparent(&self) -> &str {
        // It is digits and hyphens.
        std::str::from_utf8(&self.traceparent).unwrap_or_default()
    }

    /// Puts it into a request, with the invocation's id. A `tracestate` that belongs to no valid trace is dropped.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, id: InvocationId) {
        if !self.continued {
            headers.remove(TRACESTATE);
        }
        let mut buffer = [0; ID_LENGTH];
        let mut text = Vec::with_capacity(ID_LENGTH + LENGTH);
        text.extend_from_slice(id.write(&mut buffer).as_bytes());
        text.extend_from_slice(&self.traceparent);
        // Both values share one piece of memory.
        let text = Bytes::from(text);
        for (name, value) in [
            (INVOCATION, text.slice(..ID_LENGTH)),
            (TRACEPARENT, text.slice(ID_LENGTH..)),
        ] {
            if let Ok(value) = HeaderValue::from_maybe_shared(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// The value, if the field is there exactly once.
fn single(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?;
    if values.next().is_some() {
        None
    } else {
        value.to_str().ok()
    }
}

/// The trace's id and flags. Versions after 00 may have more fields behind.
fn parse(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let more = parts.next().is_some();
    let hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let valid = hex(version, 2)
        && version != "ff"
        && !(version == "00" && more)
        && hex(trace, 32)
        && !zero(trace)
        && hex(span, 16)
        && !zero(span)
        && hex(flags, 2);
    valid.then_some((trace, flags))
}

fn write_hexadecimal(target: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in target.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INCOMING: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn with(value: &'static str) -> HeaderMap {
        [
            (TRACEPARENT, HeaderValue::from_static(value)),
            (TRACESTATE, HeaderValue::from_static("a=b")),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_valid_trace_is_continued_with_a_span_of_its_own() {
        let mut headers = with(INCOMING);
        let trace = Trace::of(&headers, InvocationId::generate());
        assert!(
            trace
                .traceparent()
                .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        );
        assert!(trace.traceparent().ends_with("-00"));
        assert!(!trace.traceparent().contains("00f067aa0ba902b7"));
        trace.apply(&mut headers, InvocationId::generate());
        assert_eq!(headers[TRACESTATE], "a=b");
    }

    #[test]
    fn an_invalid_trace_is_replaced_and_its_state_dropped() {
        for bad in [
            "",
            "00-1-2-3",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        ] {
            let mut headers = with(bad);
            let id = InvocationId::generate();
            let trace = Trace::of(&headers, id);
            trace.apply(&mut headers, id);
            assert!(!headers.contains_key(TRACESTATE));
            assert_eq!(headers[INVOCATION], id.to_string().as_str());
            assert_eq!(headers[TRACEPARENT], trace.traceparent());
            let own = id.to_string().replace('-', "");
            assert_eq!(trace.traceparent(), format!("00-{own}-{}-01", &own[16..]));
        }
    }
}
