//! Answers: JSON, and problems as `application/problem+json`. Whoever may speak here is the operator, so what went
//! wrong inside is said as well.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header;
use skep_model::{Problem, ProblemCode};

/// A problem as the answer to a request.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Problem);

impl Failure {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Problem::new(code).detail(detail))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(mut problem) = self;
        if let Some(internal) = problem.internal.take() {
            problem.detail = Some(match problem.detail.take() {
                Some(detail) => format!("{detail} ({internal})"),
                None => internal,
            });
        }
        let mut response = Response::new(Body::from(problem.to_json(None)));
        *response.status_mut() = problem.code.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if problem.code == ProblemCode::Unauthorized {
            headers.insert(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_static("Bearer realm=\"skep\""),
            );
        }
        response
    }
}
