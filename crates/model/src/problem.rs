//! Skep's own errors as the caller sees them: `application/problem+json` (RFC 9457) with a stable code.
//!
//! Each code has its page, `docs/errors/CODE.md`. What is said here is for the public; what went wrong inside
//! goes into [`crate::Ending::detail`] and the log.

use http::StatusCode;
use serde::{Deserialize, Serialize};

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, as a stable word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        // Said once for all: utoipa sees no name that a macro passes on.
        #[serde(rename_all = "kebab-case")]
        pub enum ProblemCode {
            $($(#[$doc])* $variant,)*
        }

        impl ProblemCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// One line that a person reads.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }
        }
    };
}

problems! {
    /// No function has this route, or no invocation this address.
    NotFound = "not-found", NOT_FOUND, "Nothing is here";
    /// The request is not valid HTTP.
    BadRequest = "bad-request", BAD_REQUEST, "The request can't be understood";
    /// The request says two things at once.
    AmbiguousRequest = "ambiguous-request", BAD_REQUEST, "The request can be read in two ways";
    /// The path is known, the method isn't allowed on it.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This method isn't allowed here";
    /// The body is larger than allowed.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The request's body is too large";
    /// The caller did not send its body in time.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The request did not arrive in time";
    /// The header is larger than allowed.
    HeaderTooLarge = "header-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's header is too large";
    /// The request's target is longer than can be read.
    UriTooLong = "uri-too-long", URI_TOO_LONG, "The request's address is too long";
    /// The function's own queue is full.
    QueueFull = "queue-full", TOO_MANY_REQUESTS, "Too many requests wait for this function";
    /// The function's backlog of asynchronous invocations is full.
    BacklogFull = "backlog-full", TOO_MANY_REQUESTS, "Too many accepted invocations wait for this function";
    /// The node can't take more: memory budget, connections or its own queue.
    NodeFull = "node-full", SERVICE_UNAVAILABLE, "This node has no room for more right now";
    /// Skep is shutting down.
    Draining = "draining", SERVICE_UNAVAILABLE, "This node is shutting down";
    /// The accepted invocation can't be stored (disk full, I/O error).
    StorageUnavailable = "storage-unavailable", SERVICE_UNAVAILABLE, "The invocation can't be stored";
    /// The container engine does not answer or refused to make an instance.
    EngineUnavailable = "engine-unavailable", SERVICE_UNAVAILABLE, "The container engine can't start an instance";
    /// The template can't be started: no such command, image gone, a mount that fails.
    StartFailed = "start-failed", BAD_GATEWAY, "The function's instance can't be started";
    /// The instance ended before it was ready, or before it answered.
    InstanceExited = "instance-exited", BAD_GATEWAY, "The function's instance ended without an answer";
    /// The node that ran the work is gone, or can't be reached.
    NodeLost = "node-lost", BAD_GATEWAY, "The node that ran the function was lost";
    /// No gateway of the cluster can be reached from the node that calls.
    NoGateway = "no-gateway", SERVICE_UNAVAILABLE, "No gateway can be reached";
    /// The instance runs and listens on another port than expected, or not for others.
    ListensElsewhere = "listens-elsewhere", BAD_GATEWAY, "The function's instance listens elsewhere";
    /// The instance never became ready.
    NotReady = "not-ready", GATEWAY_TIMEOUT, "The function's instance did not become ready in time";
    /// The instance's answer breaks HTTP or CGI.
    BadResponse = "bad-response", BAD_GATEWAY, "The function's answer can't be understood";
    /// The command exited with another code than 0.
    ExitCode = "exit-code", INTERNAL_SERVER_ERROR, "The function failed";
    /// The time allowed for the work is over.
    Timeout = "timeout", GATEWAY_TIMEOUT, "The function did not answer in time";
    /// The time allowed for waiting in the queue is over.
    QueueTimeout = "queue-timeout", GATEWAY_TIMEOUT, "No instance became free in time";
    /// The function was removed and did not come back.
    FunctionRemoved = "function-removed", GONE, "The function was removed";
    /// The result of an asynchronous invocation isn't there yet.
    NotFinished = "not-finished", CONFLICT, "The invocation hasn't finished";
    /// The stored result was removed, or was larger than may be stored.
    ResultGone = "result-gone", GONE, "The result is no longer stored";
    /// `Prefer: respond-async` is not honoured by this function where it was asked for.
    AsyncNotAllowed = "async-not-allowed", NOT_IMPLEMENTED, "This function can't be called asynchronously here";
    /// A control request without the right token.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A token is needed";
    /// A control request from another site, or for another host.
    ForbiddenOrigin = "forbidden-origin", FORBIDDEN, "This request comes from elsewhere";
    /// A fault in Skep itself.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Skep has a fault";
}

/// A problem, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The stable code.
    pub code: ProblemCode,
    /// A sentence for the caller, safe to show in public.
    pub detail: Option<String>,
    /// After how many seconds it makes sense to try again.
    pub retry_after: Option<u64>,
    /// For the operator: never shown in public.
    pub internal: Option<String>,
    /// The exit code of the instance that ended, for the record.
    pub exit_code: Option<i64>,
}

impl Problem {
    /// A problem with nothing said beyond its code.
    pub fn new(code: ProblemCode) -> Self {
        Self {
            code,
            detail: None,
            retry_after: None,
            internal: None,
            exit_code: None,
        }
    }

    /// Adds a sentence for the caller.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what only the operator may read.
    #[must_use]
    pub fn internal(mut self, internal: impl Into<String>) -> Self {
        self.internal = Some(internal.into());
        self
    }

    /// Adds with which code the instance ended.
    #[must_use]
    pub fn exit_code(mut self, code: i64) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// Adds after how many seconds to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The body of the answer, as JSON text; `invocation` is the id of the invocation that it is about.
    pub fn to_json(&self, invocation: Option<&str>) -> String {
        let mut body = serde_json::Map::new();
        body.insert(
            "type".into(),
            format!("urn:skep:error:{}", self.code.as_str()).into(),
        );
        body.insert("title".into(), self.code.title().into());
        body.insert("status".into(), self.code.status().as_u16().into());
        body.insert("code".into(), self.code.as_str().into());
        if let Some(detail) = &self.detail {
            body.insert("detail".into(), detail.as_str().into());
        }
        if let Some(invocation) = invocation {
            body.insert("invocation".into(), invocation.into());
        }
        serde_json::Value::Object(body).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_stored_as_it_is_shown() {
        for code in ProblemCode::ALL {
            let stored = serde_json::to_value(code).expect("a word");
            assert_eq!(stored, code.as_str());
        }
    }
}
