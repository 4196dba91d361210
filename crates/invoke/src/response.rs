//! Answers of Skep's own, and what stands on every answer.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use skep_model::{InvocationId, Phases, Problem};

use crate::body::{Body, full};
use crate::headers::INVOCATION;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The answer that tells of a problem (RFC 9457). Its code is among the extensions: what a function answers may look the
/// same.
pub fn problem_response(problem: &Problem, id: Option<InvocationId>) -> Response<Body> {
    let text = id.map(|id| id.to_string());
    let mut response = Response::new(full(problem.to_json(text.as_deref())));
    *response.status_mut() = problem.code.status();
    response.extensions_mut().insert(problem.code);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    // A 404 or a 410 may be cached where nothing forbids it, and these all may change at any time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(INVOCATION, value);
    }
    response
}

/// Puts the invocation's id and where its time went on a response. What a function claims to be its invocation is
/// replaced; its own `Server-Timing` stays, before Skep's.
pub fn sign(headers: &mut HeaderMap, id: InvocationId, phases: &Phases) {
    // On the way of every request: no formatting, and one piece of memory for both.
    let mut text = Vec::with_capacity(128);
    let mut buffer = [0; 36];
    text.extend_from_slice(id.write(&mut buffer).as_bytes());
    let begin = text.len();
    for (phase, time) in phases.iter() {
        if text.len() > begin {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(phase.as_str().as_bytes());
        text.extend_from_slice(b";dur=");
        write_milliseconds(&mut text, time);
    }
    let text = Bytes::from(text);
    if let Ok(value) = HeaderValue::from_maybe_shared(text.slice(..begin)) {
        headers.insert(INVOCATION, value);
    }
    if text.len() > begin
        && let Ok(value) = HeaderValue::from_maybe_shared(text.slice(begin..))
    {
        headers.append(SERVER_TIMING, value);
    }
}

/// A time in milliseconds, with three digits behind the point.
fn write_milliseconds(text: &mut Vec<u8>, time: Duration) {
    let mut digits = [0; 40];
    let mut at = digits.len();
    let mut rest = time.as_micros();
    while rest > 0 || digits.len() - at < 5 {
        at -= 1;
        digits[at] = if digits.len() - at == 4 {
            b'.'
        } else {
            let digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            digit
        };
    }
    text.extend_from_slice(&digits[at..]);
}

/// Whether a response with this status to this method has a body at all (RFC 9110, section 6.4.1).
pub(crate) fn has_body(method: &http::Method, status: StatusCode) -> bool {
    method != http::Method::HEAD
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

#[cfg(test)]
mod tests {
    use skep_model::ProblemCode;

    use super::*;

    #[test]
    fn phases_follow_the_functions_own_timing() {
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("db;dur=1"));
        headers.insert(INVOCATION, HeaderValue::from_static("forged"));
        let id = InvocationId::generate();
        let phases = Phases {
            queue: Some(Duration::from_micros(1500)),
            handler: Some(Duration::from_millis(20)),
            ..Phases::default()
        };
        sign(&mut headers, id, &phases);
        let values: Vec<_> = headers.get_all(SERVER_TIMING).iter().collect();
        assert_eq!(values, ["db;dur=1", "queue;dur=1.500, handler;dur=20.000"]);
        assert_eq!(headers[INVOCATION], id.to_string().as_str());
    }

    #[test]
    fn a_time_is_written_in_milliseconds() {
        let cases = [
            (0, "0.000"),
            (7, "0.007"),
            (1500, "1.500"),
            (20_000, "20.000"),
            (61_000_042, "61000.042"),
        ];
        for (microseconds, written) in cases {
            let mut text = Vec::new();
            write_milliseconds(&mut text, Duration::from_micros(microseconds));
            assert_eq!(String::from_utf8(text).unwrap(), written);
        }
        let mut longest = Vec::new();
        write_milliseconds(&mut longest, Duration::MAX);
        assert_eq!(longest, b"18446744073709551615999.999");
    }

    #[test]
    fn a_problem_never_shows_what_is_for_the_operator() {
        let problem = Problem::new(ProblemCode::QueueFull)
            .internal("secret path")
            .retry_after(3);
        let response = problem_response(&problem, None);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "3");
        assert!(!problem.to_json(None).contains("secret"));
    }
}
