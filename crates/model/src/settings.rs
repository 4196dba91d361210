//! How a function is to be run: what its labels say, with every default filled in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::route::Route;
use crate::spawn::Spawn;

/// The contract between Skep and an instance (DESIGN 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Handler {
    /// The container is an HTTP server.
    Http,
    /// CGI/1.1 (RFC 3875): one run per request.
    Cgi,
    /// A command: standard input to standard output, one run per invocation.
    Exec,
}

/// How many invocations an instance serves before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recycle {
    /// One, then gone.
    Request,
    /// Any number, until it was idle for `skep.idle`.
    Idle,
    /// This many (at least 1), or until idle.
    After(u64),
}

impl Recycle {
    /// How many invocations one instance may serve; `None` for no limit.
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Request => Some(1),
            Self::Idle => None,
            Self::After(count) => Some(count),
        }
    }
}

/// What is spoken to an `http` instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113, section 3.3).
    H2c,
}

/// When an `http` instance is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// As soon as it accepts a connection.
    Connect,
    /// As soon as a GET of this path answers 2xx.
    Path(String),
}

/// Which port an `http` instance listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortChoice {
    /// Skep chooses one and says so in `PORT`.
    Assigned,
    /// Always this one: the label's, the template's own `PORT`, or the only one that the image exposes.
    Fixed(u16),
}

/// Which engine makes the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The best that the node can do for this template.
    Auto,
    /// Skep's own; a function that it can't run identically is invalid.
    Lean,
    /// A Docker container each.
    Docker,
}

/// Whether instances share a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxChoice {
    /// Instances of one function share one.
    Shared,
    /// One running instance per sandbox.
    Private,
}

/// Everything that the labels decide. Each field is the label of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is named and explained by its label")]
pub struct Settings {
    pub handler: Handler,
    /// Empty where the function is not on the public listener.
    pub routes: Vec<Route>,
    pub strip: bool,
    pub port: PortChoice,
    pub protocol: Protocol,
    pub ready: Ready,
    pub recycle: Recycle,
    /// Requests at once per reused instance; at least 1.
    pub concurrency: u32,
    pub spares: u32,
    /// Instances at once; at least 1.
    pub max: u32,
    /// Callers that may wait for an instance.
    pub queue: u32,
    pub asynchronous: bool,
    /// Accepted asynchronous invocations that may wait.
    pub backlog: u64,
    pub idle: Duration,
    pub timeout: Duration,
    pub engine: EngineChoice,
    pub sandbox: SandboxChoice,
    pub sandboxes: u32,
    pub slots: u32,
    /// Bytes that an instance may write to its own file system (lean).
    pub disk: u64,
    /// What it may start through its Docker socket; without it there is none.
    pub spawn: Option<Spawn>,
}
