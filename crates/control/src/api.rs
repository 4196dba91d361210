//! What the control listener says, as types: the server writes them, the command reads them, and the OpenAPI
//! document is made from them. Fields are added, never renamed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use skep_model::{EndingKind, Handler, LogStream, ProblemCode, Status, Trigger};
use utoipa::ToSchema;

/// Whether a function runs when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FunctionState {
    /// It runs.
    Ready,
    /// Its template can't be run as it stands; `reasons` say why.
    Invalid,
}

/// A function in force, or a template that would be one if it were valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Function {
    /// What `skep.function` says.
    pub name: String,
    /// Whether it runs.
    pub state: FunctionState,
    /// Why it does not run, each a sentence that says what to change; empty for `ready`.
    pub reasons: Vec<String>,
    /// The template's id in Docker, its first 12 characters.
    pub template: String,
    /// The template's name in Docker.
    pub template_name: String,
    /// The digest of its definition; absent for `invalid`, as everything below.
    pub revision: Option<String>,
    /// The contract between Skep and its instances.
    pub handler: Option<Handler>,
    /// Which engine makes its instances on this node: `docker`, `lean`.
    #[serde(default)]
    pub engine: Option<String>,
    /// Why `skep.engine=auto` does not mean `lean` for it, each a sentence; empty where it does, or another was asked
    /// for.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// Where it is found on the public listener; empty with `skep.route=none`.
    pub routes: Vec<String>,
    /// The image as it was named at creation.
    pub image: Option<String>,
    /// When the template was created.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created: Option<Timestamp>,
    /// Instances that there are now, starting ones included.
    pub instances: u32,
    /// Invocations that instances serve now.
    pub running: u32,
    /// Callers that wait for an instance now.
    pub queued: u32,
}

/// `GET /v1/functions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Functions {
    /// By name; invalid templates after the function that their name belongs to.
    pub functions: Vec<Function>,
}

/// `GET /v1/functions/NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionDetail {
    /// The name that was asked for.
    pub name: String,
    /// What is in force; absent where only invalid templates carry the name.
    pub function: Option<Function>,
    /// Every label with its value, defaults filled in; empty where nothing is in force.
    pub settings: BTreeMap<String, String>,
    /// The networks that its instances are attached to.
    pub networks: Vec<String>,
    /// The memory limit of one instance, in bytes.
    pub memory: Option<u64>,
    /// The image's digest: what runs, whatever the tag points to now.
    pub image_id: Option<String>,
    /// Templates that carry the name and can't be run.
    pub invalid: Vec<Function>,
}

/// How far an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Being made, or not ready yet.
    Starting,
    /// Ready, and never used so far.
    Spare,
    /// Serving.
    Busy,
    /// Served before, and waits for more.
    Idle,
    /// Waits for more, and its processes are stopped from running until there is work.
    Frozen,
    /// Being ended.
    Ending,
}

/// One run of a function's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The function.
    pub function: String,
    /// The revision that it runs.
    pub revision: String,
    /// Which engine made it: `docker`, `lean`.
    pub engine: String,
    /// What to look for on the node: a container's short id, or a process id.
    pub locator: Option<String>,
    /// How far it is.
    pub state: InstanceState,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// The invocations that it serves now.
    pub invocations: Vec<String>,
    /// How many it served before.
    pub served: u64,
    /// On a Swarm, the name of its node.
    #[serde(default)]
    pub node: Option<String>,
}

/// `GET /v1/instances`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Instances {
    /// The oldest first.
    pub instances: Vec<Instance>,
}

/// What several instances share: networks and mounts. The `docker` engine makes none apart from its instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// Docker's id of its container.
    pub id: String,
    /// The function.
    pub function: String,
    /// The instances in it.
    pub instances: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// On a Swarm, the name of its node.
    #[serde(default)]
    pub node: Option<String>,
}

/// `GET /v1/sandboxes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sandboxes {
    /// The oldest first.
    pub sandboxes: Vec<Sandbox>,
}

/// How far a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChildState {
    /// Made and not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process ended.
    Exited,
    /// It ended and was removed.
    Removed,
}

/// A container that a function started through its Docker socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Child {
    /// Docker's id.
    pub id: String,
    /// Its name, as the function knows it.
    pub name: String,
    /// The function whose grant it came from.
    pub function: String,
    /// The instance or the child whose socket it came through.
    pub parent: String,
    /// The invocation that it belongs to; absent where its instance serves several.
    pub invocation: Option<String>,
    /// 1 for the child of an instance, 2 for that one's child.
    pub generation: u32,
    /// The image or the function that it was started as.
    pub started_as: String,
    /// How far it is.
    pub state: ChildState,
    /// Its exit code, where it ended.
    pub exit_code: Option<i64>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When its process was last started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// When its process ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
    /// The bytes of memory that count for it against the grant; 0 where it shares what is granted.
    pub memory: u64,
    /// The CPUs that count for it, in billionths; 0 where it shares what is granted.
    pub nano_cpus: u64,
    /// On a Swarm, the name of its node.
    #[serde(default)]
    pub node: Option<String>,
}

/// `GET /v1/children`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Children {
    /// The oldest first; the last ones that were removed are still there.
    pub children: Vec<Child>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ending {
    /// Why.
    pub kind: EndingKind,
    /// Skep's own error, where that was the reason.
    pub problem: Option<ProblemCode>,
    /// The instance's exit code, where it ended with the invocation (128 + signal, as Docker counts).
    pub exit_code: Option<i64>,
    /// The status of the response.
    pub http_status: Option<u16>,
    /// What went wrong inside.
    pub detail: Option<String>,
}

/// One unit of work for a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Invocation {
    /// Its id.
    pub id: String,
    /// The function.
    pub function: String,
    /// The revision that ran it.
    pub revision: Option<String>,
    /// The invocation that caused it.
    pub parent: Option<String>,
    /// What asked for it.
    pub trigger: Trigger,
    /// How far it got.
    pub status: Status,
    /// The request's method.
    pub method: String,
    /// The request's path and query as it reached the function.
    pub path: String,
    /// When it arrived.
    #[schema(value_type = String, format = DateTime)]
    pub received: Timestamp,
    /// When an instance got it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
    /// The instance that served it.
    pub instance: Option<String>,
    /// On a Swarm, the node that ran it and keeps its record; absent where a gateway keeps it.
    #[serde(default)]
    pub node: Option<String>,
    /// Where the time went, in milliseconds: `queue`, `sandbox`, `start`, `ready`, `handler`.
    pub phases: BTreeMap<String, f64>,
    /// How often it was begun: more than once only after a crash.
    pub attempts: u32,
    /// How it ended.
    pub ending: Option<Ending>,
}

/// `GET /v1/invocations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Invocations {
    /// The newest first.
    pub invocations: Vec<Invocation>,
    /// The `cursor` that asks for what follows; absent at the end.
    pub next: Option<String>,
}

/// One line of a log. `GET /v1/logs` answers one such object a line (`application/x-ndjson`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was read from the instance.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// The function.
    pub function: String,
    /// The instance that wrote it.
    pub instance: String,
    /// The invocation it belongs to; absent where that can't be known for certain.
    pub invocation: Option<String>,
    /// Which stream it was written to.
    pub stream: LogStream,
    /// What was written; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// On a Swarm, the name of the node that has the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// One of the things that `GET /readyz` looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What was looked at: `engine`, `store`, `functions`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What is not.
    pub detail: Option<String>,
}

/// `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether every check is as it should be.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// An error of Skep's own (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The page that explains it.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line that a person reads.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable word for it.
    pub code: ProblemCode,
    /// What is to be said about this case.
    pub detail: Option<String>,
    /// The invocation, where there was one.
    pub invocation: Option<String>,
}
