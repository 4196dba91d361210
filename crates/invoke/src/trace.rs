//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): one trace through callers, Skep and functions.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use skep_model::InvocationId;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// An invocation's place in its trace.
///
/// Its span is the random half of the invocation's id, and so is a new trace's id the invocation's own: who has one
/// finds the other without a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    traceparent: String,
    continued: bool,
}

impl Trace {
    /// Continues the trace that a request's header names, or begins one.
    pub fn of(headers: &HeaderMap, id: InvocationId) -> Self {
        let incoming = single(headers).and_then(parse);
        let continued = incoming.is_some();
        let bytes = id.as_bytes();
        let (trace, flags) = incoming.unwrap_or_else(|| (hexadecimal(bytes), "01".to_owned()));
        let traceparent = format!("00-{trace}-{}-{flags}", hexadecimal(&bytes[8..]));
        Self {
            traceparent,
            continued,
        }
    }

    /// The field's value, as it is sent on.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Puts it into a request. A `tracestate` that belongs to no valid trace is dropped.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if !self.continued {
            headers.remove(TRACESTATE);
        }
        if let Ok(value) = HeaderValue::from_str(&self.traceparent) {
            headers.insert(TRACEPARENT, value);
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
fn parse(text: &str) -> Option<(String, String)> {
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
    valid.then(|| (trace.to_owned(), flags.to_owned()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
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
        trace.apply(&mut headers);
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
            trace.apply(&mut headers);
            assert!(!headers.contains_key(TRACESTATE));
            let own = id.to_string().replace('-', "");
            assert_eq!(trace.traceparent(), format!("00-{own}-{}-01", &own[16..]));
        }
    }
}
