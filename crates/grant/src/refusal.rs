//! How a request is refused: as the daemon itself does it, with a sentence that says what is missing.

/// A refusal: an HTTP status and the sentence for `{"message": …}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// What is wrong, and which grant would allow it.
    pub message: String,
}

impl Refusal {
    /// 400: the request can't be understood, or could be understood in two ways.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
        }
    }

    /// 403: understood, and not granted.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self {
            status: 403,
            message: message.into(),
        }
    }

    /// 404: there is no such thing, as far as this socket can see.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: 404,
            message: message.into(),
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> String {
        serde_json::json!({ "message": self.message }).to_string()
    }
}
