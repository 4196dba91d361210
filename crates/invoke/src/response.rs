//! Answers of Skep's own, and what stands on every answer.

use std::fmt::Write as _;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use skep_model::{InvocationId, Phases, Problem};

use crate::body::{Body, full};
use crate::headers::INVOCATION;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The answer that tells of a problem (RFC 9457).
pub fn problem_response(problem: &Problem, id: Option<InvocationId>) -> Response<Body> {
    let text = id.map(|id| id.to_string());
    let mut response = Response::new(full(problem.to_json(text.as_deref())));
    *response.status_mut() = problem.code.status();
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
pub(crate) fn sign(headers: &mut HeaderMap, id: InvocationId, phases: &Phases) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(INVOCATION, value);
    }
    let mut timing = String::with_capacity(96);
    for (phase, time) in phases.iter() {
        let separator = if timing.is_empty() { "" } else { ", " };
        // In whole numbers: this is on the way of every request. Writing into a String can't fail.
        let (milliseconds, rest) = (time.as_millis(), time.subsec_micros() % 1000);
        let _ = write!(
            timing,
            "{separator}{};dur={milliseconds}.{rest:03}",
            phase.as_str()
        );
    }
    if let Ok(value) = HeaderValue::from_str(&timing)
        && !timing.is_empty()
    {
        headers.append(SERVER_TIMING, value);
    }
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
    use std::time::Duration;

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
