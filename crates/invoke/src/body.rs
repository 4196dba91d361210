//! Bodies as they pass through: streams of frames that are never held as a whole.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use skep_model::{Problem, ProblemCode};

/// A request's or a response's body.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The caller sent more than is allowed.
    #[error("the request's body is larger than {limit} bytes, the most that --max-body allows")]
    TooLarge {
        /// The most that is allowed, in bytes.
        limit: u64,
    },
    /// The caller stopped sending and did not go on in time.
    #[error("the request's body stopped arriving")]
    TimedOut,
    /// The caller went away, or what it sent is no valid body.
    #[error("the request's body broke off: {0}")]
    Broken(String),
    /// A stored body can't be read or written.
    #[error("the body can't be read or written on this node: {0}")]
    Storage(String),
    /// The function failed after the head of its response was sent.
    #[error("the response was cut: {0}")]
    Cut(String),
}

impl BodyError {
    /// What the caller is told, where that is still possible.
    pub fn problem(&self) -> Problem {
        match self {
            Self::TooLarge { limit } => Problem::new(ProblemCode::BodyTooLarge)
                .detail(format!("The body may have at most {limit} bytes.")),
            Self::TimedOut => Problem::new(ProblemCode::RequestTimeout),
            Self::Broken(_) => {
                Problem::new(ProblemCode::BadRequest).detail("The request's body is not complete.")
            }
            Self::Storage(reason) => Problem::new(ProblemCode::StorageUnavailable).internal(reason.clone()),
            Self::Cut(reason) => Problem::new(ProblemCode::BadResponse).internal(reason.clone()),
        }
    }
}

/// A body of nothing.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is there as a whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}
