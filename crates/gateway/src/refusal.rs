//! Answers without a request: what could not be read, or was not read at all. They are written by hand, since HTTP
//! only answers what it could read.

use skep_invoke::INVOCATION;
use skep_model::{InvocationId, Problem, ProblemCode};

/// A whole answer as it is sent, after which the connection is closed.
pub(crate) fn bytes(problem: &Problem) -> Vec<u8> {
    let id = InvocationId::generate().to_string();
    let body = problem.to_json(Some(&id));
    let status = problem.code.status();
    let retry = problem
        .retry_after
        .map_or(String::new(), |seconds| format!("retry-after: {seconds}\r\n"));
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n{INVOCATION}: {id}\r\n\
         {retry}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    )
    .into_bytes()
}

/// What hyper means by the bare answer that it gives by itself; `None` where it is no such answer. In the request
/// line what is too large for it is the address.
pub(crate) fn of_bare(answer: &[u8], in_request_line: bool) -> Option<Problem> {
    let code = match answer.strip_prefix(b"HTTP/1.")?.get(2..5)? {
        b"400" => ProblemCode::BadRequest,
        b"414" => ProblemCode::UriTooLong,
        b"431" if in_request_line => ProblemCode::UriTooLong,
        b"431" => ProblemCode::HeaderTooLarge,
        _ => return None,
    };
    let problem = Problem::new(code);
    Some(match code {
        ProblemCode::BadRequest => problem.detail("The request's header is not valid HTTP."),
        _ => problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let bytes = bytes(&Problem::new(ProblemCode::NodeFull).retry_after(1));
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.ends_with(&format!(
            "retry-after: 1\r\nconnection: close\r\ncontent-length: {}",
            body.len()
        )));
    }

    #[test]
    fn bare_answers_are_recognised_by_their_status() {
        let code = |answer: &[u8]| of_bare(answer, false).map(|problem| problem.code);
        assert_eq!(
            code(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Some(ProblemCode::BadRequest)
        );
        assert_eq!(code(b"HTTP/1.0 431 X\r\n\r\n"), Some(ProblemCode::HeaderTooLarge));
        assert_eq!(code(b"HTTP/1.1 414 X\r\n\r\n"), Some(ProblemCode::UriTooLong));
        let long = of_bare(b"HTTP/1.1 431 X\r\n\r\n", true).map(|problem| problem.code);
        assert_eq!(long, Some(ProblemCode::UriTooLong));
        for other in [&b"HTTP/1.1 200 OK"[..], b"HTTP/1.1", b"", b"\0\0\x04HTTP/1.1 400"] {
            assert_eq!(code(other), None);
        }
    }
}
