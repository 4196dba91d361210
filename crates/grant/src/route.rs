//! Which requests there are: a method and a path, written in the one way that they can be, become a [`Call`].

use crate::query::Kind::{self, Flag, Number, Text, Time, Word};
use crate::query::Query;
use crate::refusal::Refusal;

/// What is done with one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Engine API's endpoint of its name")]
pub enum ContainerCall {
    Inspect,
    Logs,
    Start,
    Stop,
    Restart,
    Kill,
    Wait,
    Attach,
    Resize,
    Rename,
    Pause,
    Unpause,
    Top,
    Stats,
    Changes,
    Export,
    ArchiveHead,
    ArchiveGet,
    ArchivePut,
    ExecCreate,
    Remove,
}

impl ContainerCall {
    /// Its method, and what follows `/containers/ID`.
    pub fn written(self) -> (&'static str, String) {
        let known = CONTAINER.iter().find(|(_, _, call, _)| *call == self);
        match known {
            Some((method, "", ..)) => (method, String::new()),
            Some((method, tail, ..)) => (method, format!("/{tail}")),
            // Each stands in the table.
            None => ("GET", String::new()),
        }
    }
}

/// A request that this socket knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the Engine API's endpoint of its name")]
pub enum Call {
    Ping,
    Version,
    Info,
    Events,
    CreateContainer,
    ListContainers,
    PruneContainers,
    Container(String, ContainerCall),
    ExecInspect(String),
    ExecStart(String),
    ExecResize(String),
    ListImages,
    Image(String),
    Pull,
    ListNetworks,
    Network(String),
    Connect(String),
    Disconnect(String),
    ListVolumes,
    Volume(String),
}

/// A request's first line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The API version that the client speaks, where it says so.
    pub version: Option<(u32, u32)>,
    /// What it wants.
    pub call: Call,
    /// The parameters.
    pub query: Query,
}

type Parameters = &'static [(&'static str, Kind)];

const ARCHIVE: Parameters = &[
    ("path", Text),
    ("noOverwriteDirNonDir", Flag),
    ("copyUIDGID", Flag),
];
const SIZE: Parameters = &[("h", Number), ("w", Number)];
const STOP: Parameters = &[("t", Number), ("signal", Word)];

/// `/containers/ID` and what may follow it.
#[rustfmt::skip]
const CONTAINER: &[(&str, &str, ContainerCall, Parameters)] = &[
    ("GET",    "json",    ContainerCall::Inspect,     &[("size", Flag)]),
    ("GET",    "logs",    ContainerCall::Logs,        &[("follow", Flag), ("stdout", Flag), ("stderr", Flag),
                                                        ("since", Time), ("until", Time), ("timestamps", Flag),
                                                        ("tail", Word), ("details", Flag)]),
    ("POST",   "start",   ContainerCall::Start,       &[("detachKeys", Text)]),
    ("POST",   "stop",    ContainerCall::Stop,        STOP),
    ("POST",   "restart", ContainerCall::Restart,     STOP),
    ("POST",   "kill",    ContainerCall::Kill,        &[("signal", Word)]),
    ("POST",   "wait",    ContainerCall::Wait,        &[("condition", Word)]),
    ("POST",   "attach",  ContainerCall::Attach,      &[("stream", Flag), ("stdin", Flag), ("stdout", Flag),
                                                        ("stderr", Flag), ("logs", Flag), ("detachKeys", Text), ("hijack", Flag)]),
    ("POST",   "resize",  ContainerCall::Resize,      SIZE),
    ("POST",   "rename",  ContainerCall::Rename,      &[("name", Word)]),
    ("POST",   "pause",   ContainerCall::Pause,       &[]),
    ("POST",   "unpause", ContainerCall::Unpause,     &[]),
    ("GET",    "top",     ContainerCall::Top,         &[("ps_args", Word)]),
    ("GET",    "stats",   ContainerCall::Stats,       &[("stream", Flag), ("one-shot", Flag)]),
    ("GET",    "changes", ContainerCall::Changes,     &[]),
    ("GET",    "export",  ContainerCall::Export,      &[]),
    ("HEAD",   "archive", ContainerCall::ArchiveHead, ARCHIVE),
    ("GET",    "archive", ContainerCall::ArchiveGet,  ARCHIVE),
    ("PUT",    "archive", ContainerCall::ArchivePut,  ARCHIVE),
    ("POST",   "exec",    ContainerCall::ExecCreate,  &[]),
    ("DELETE", "",        ContainerCall::Remove,      &[("v", Flag), ("force", Flag), ("link", Flag)]),
];

/// What Docker has and nobody gets here: the beginning of the path, and why.
#[rustfmt::skip]
const CLOSED: &[(&[&str], &str)] = &[
    (&["build"],            "images are not built through this socket"),
    (&["session"],          "images are not built through this socket"),
    (&["grpc"],             "images are not built through this socket"),
    (&["commit"],           "images are not made through this socket"),
    (&["images"],           "images are listed, inspected and pulled here as skep.spawn names them, and nothing else"),
    (&["distribution"],     "images are listed, inspected and pulled here as skep.spawn names them, and nothing else"),
    (&["networks"],         "networks are not made here; skep.spawn.networks names those that children may join"),
    (&["volumes"],          "volumes are not made here; skep.spawn.volumes names those that children may mount"),
    (&["auth"],             "this socket keeps no credentials"),
    (&["system"],           "what the node holds is not shown here"),
    (&["swarm"],            "Swarm is not managed through this socket"),
    (&["nodes"],            "Swarm is not managed through this socket"),
    (&["services"],         "Swarm is not managed through this socket"),
    (&["tasks"],            "Swarm is not managed through this socket"),
    (&["secrets"],          "Swarm is not managed through this socket"),
    (&["configs"],          "Swarm is not managed through this socket"),
    (&["plugins"],          "plugins are not managed through this socket"),
];

/// Kinds of things that are looked for by a name of which nobody knows what it names (`docker inspect`), and how Docker
/// says that there is none. Here nobody has any that they could find so.
const LOOKED_FOR: &[(&str, &str)] = &[
    ("services", "service"),
    ("tasks", "task"),
    ("nodes", "node"),
    ("secrets", "secret"),
    ("configs", "config"),
];

/// Reads a request's first line. `path` is as it was sent, with nothing decoded.
///
/// # Errors
/// 400 for a path that could mean two things, 403 for what is never granted, 404 for what nobody knows.
pub fn target(method: &str, path: &str, query: Option<&str>) -> Result<Target, Refusal> {
    let all = segments(path)?;
    let (version, rest) = match all.split_first() {
        Some((first, rest)) => match version(first)? {
            Some(version) => (Some(version), rest),
            None => (None, all.as_slice()),
        },
        None => (None, all.as_slice()),
    };
    let (call, parameters, lenient) = call(method, rest)?;
    let query = Query::parse(query, parameters, lenient)?;
    Ok(Target { version, call, query })
}

/// The parts between slashes. A path that a server behind might read otherwise is refused, never put right.
fn segments(path: &str) -> Result<Vec<&str>, Refusal> {
    let odd = |byte: u8| !(byte.is_ascii_alphanumeric() || b"/_.:-@".contains(&byte));
    let rest = path.strip_prefix('/');
    let parts: Vec<&str> = rest.unwrap_or_default().split('/').collect();
    let bad = |part: &&str| part.is_empty() || *part == "." || *part == "..";
    if rest.is_none() || path.bytes().any(odd) || parts.iter().any(bad) {
        return Err(Refusal::malformed(format!(
            "the path {path:?} is not written plainly: no escapes, no empty parts, no dots"
        )));
    }
    Ok(parts)
}

/// `v1.41`; `None` where the part is no version.
fn version(part: &str) -> Result<Option<(u32, u32)>, Refusal> {
    let Some(numbers) = part
        .strip_prefix('v')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    else {
        return Ok(None);
    };
    let number = |text: &str| {
        let plain = !text.is_empty() && text.len() < 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>()
            .ok()
            .filter(|_| plain && (text == "0" || !text.starts_with('0')))
    };
    let read = numbers
        .split_once('.')
        .and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    read.map(Some)
        .ok_or_else(|| Refusal::malformed(format!("{part:?} is no version of the API")))
}

#[rustfmt::skip]
fn call(method: &str, path: &[&str]) -> Result<(Call, Parameters, bool), Refusal> {
    let name = |text: &str| text.to_owned();
    let found: (Call, Parameters, bool) = match (method, path) {
        ("GET" | "HEAD", ["_ping"])           => (Call::Ping, &[], true),
        ("GET", ["version"])                  => (Call::Version, &[], true),
        ("GET", ["info"])                     => (Call::Info, &[], true),
        ("GET", ["events"])                   => (Call::Events, &[("since", Time), ("until", Time), ("filters", Text)], false),
        // dockerode repeats the body's fields here, where Docker does not read them either.
        ("POST", ["containers", "create"])    => (Call::CreateContainer, &[("name", Text), ("platform", Word)], true),
        ("GET", ["containers", "json"])       => (Call::ListContainers, &[("all", Flag), ("limit", Number), ("size", Flag),
                                                   ("filters", Text), ("since", Word), ("before", Word), ("trunc_cmd", Flag)], false),
        ("POST", ["containers", "prune"])     => (Call::PruneContainers, &[("filters", Text)], false),
        ("GET", ["exec", id, "json"])         => (Call::ExecInspect(name(id)), &[], false),
        ("POST", ["exec", id, "start"])       => (Call::ExecStart(name(id)), &[], false),
        ("POST", ["exec", id, "resize"])      => (Call::ExecResize(name(id)), SIZE, false),
        ("GET", ["images", "json"])           => (Call::ListImages, &[("all", Flag), ("digests", Flag), ("filters", Text),
                                                   ("filter", Word), ("only_ids", Flag), ("shared-size", Flag), ("manifests", Flag)], false),
        ("POST", ["images", "create"])        => (Call::Pull, &[("fromImage", Text), ("tag", Text), ("platform", Word),
                                                   ("fromSrc", Text), ("repo", Text), ("message", Text), ("changes", Text)], false),
        ("GET", ["images", image @ .., "json"]) if !image.is_empty()
                                              => (Call::Image(image.join("/")), &[("manifests", Flag), ("platform", Word)], false),
        ("GET", ["networks"])                 => (Call::ListNetworks, &[("filters", Text)], false),
        ("GET", ["networks", id])             => (Call::Network(name(id)), &[("verbose", Flag), ("scope", Word)], false),
        ("POST", ["networks", id, "connect"]) => (Call::Connect(name(id)), &[], false),
        ("POST", ["networks", id, "disconnect"]) => (Call::Disconnect(name(id)), &[], false),
        ("GET", ["volumes"])                  => (Call::ListVolumes, &[("filters", Text)], false),
        ("GET", ["volumes", id])              => (Call::Volume(name(id)), &[], false),
        (_, ["containers", id, rest @ ..]) if rest.len() <= 1 => {
            let tail = rest.first().copied().unwrap_or_default();
            let known = CONTAINER.iter().find(|(verb, known, ..)| *verb == method && *known == tail);
            let Some((_, _, call, parameters)) = known else { return Err(unknown(method, path)) };
            (Call::Container(name(id), *call), *parameters, false)
        }
        _ => return Err(unknown(method, path)),
    };
    Ok(found)
}

fn unknown(method: &str, path: &[&str]) -> Refusal {
    if let ("GET", Some(none)) = (method, nothing_of_that_name(path)) {
        return Refusal::not_found(none);
    }
    let shown = path.join("/");
    let closed = CLOSED.iter().find(|(beginning, _)| path.starts_with(beginning));
    if let Some((_, reason)) = closed {
        return Refusal::forbidden(format!("{method} /{shown}: {reason}"));
    }
    if path.len() == 3
        && path[0] == "containers"
        && matches!(path[2], "update" | "ws" | "copy" | "checkpoints")
    {
        return Refusal::forbidden(format!("{method} /{shown}: this socket does not offer that"));
    }
    Refusal::not_found(format!("{method} /{shown}: this socket knows no such call"))
}

/// Docker's word where one thing is asked for by a name that nothing has, whatever it may be the name of.
fn nothing_of_that_name(path: &[&str]) -> Option<String> {
    match path {
        ["plugins", name @ .., "json"] if !name.is_empty() => {
            Some(format!("plugin {:?} not found", name.join("/")))
        }
        // One without a slash is looked for; no network and no volume is called by any other.
        ["networks", name @ ..] if name.len() > 1 => Some(format!("network {} not found", name.join("/"))),
        ["volumes", name @ ..] if name.len() > 1 => Some(format!("get {}: no such volume", name.join("/"))),
        [kind, name] => {
            let (_, one) = LOOKED_FOR.iter().find(|(known, _)| known == kind)?;
            Some(format!("{one} {name} not found"))
        }
        _ => None,
    }
}
