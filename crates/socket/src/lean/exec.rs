//! Processes that run in a child beside its own.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};
use skep_grant::{ExecCreate, ExecStart, Refusal};
use skep_lean::JoinRun;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::child::{LeanChild, Status};
use super::create::identifier;
use super::keys::Keys;
use super::words::{self, Said};
use super::{Lean, attach, lock, streams};
use crate::answer::{Answer, nothing};
use crate::calls::Context;
use crate::child::Child;
use crate::shared::Shared;

/// How many such processes run in one child: each has pipes in Skep, also where nobody is there for it.
const RUNNING: usize = 256;
/// How long the code of one can be asked for when its child is gone.
const ASKED: Duration = Duration::from_secs(5);
/// How much of a command events tell.
const TOLD: usize = 4 << 10;

/// One process, made and maybe started.
#[derive(Debug)]
pub(super) struct Exec {
    id: String,
    pub(super) container: String,
    /// In whose child it is: others know of no such process, also when the child is gone.
    of: Child,
    /// What was asked for.
    asked: Mutex<Value>,
    doing: Mutex<Doing>,
}

#[derive(Debug, Default)]
struct Doing {
    begun: bool,
    running: bool,
    code: Option<i32>,
    pid: u32,
    master: Option<OwnedFd>,
}

impl Exec {
    fn flag(&self, name: &str) -> bool {
        lock(&self.asked)
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    fn text(&self, name: &str) -> String {
        lock(&self.asked)
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let asked = lock(&self.asked);
        let list = asked.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    fn shown(&self) -> Value {
        let doing = lock(&self.doing);
        let command = self.texts("Cmd");
        let (first, rest) = command
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let mut process = json!({
            "tty": self.flag("Tty"), "entrypoint": first, "arguments": rest, "privileged": false,
        });
        if !self.text("User").is_empty() {
            process["user"] = self.text("User").into();
        }
        json!({
            "ID": self.id, "Running": doing.running, "ExitCode": doing.code, "ProcessConfig": process,
            "OpenStdin": self.flag("AttachStdin"), "OpenStderr": self.flag("AttachStderr"),
            "OpenStdout": self.flag("AttachStdout"), "CanRemove": false, "ContainerID": self.container,
            "DetachKeys": "", "Pid": doing.pid,
        })
    }
}

impl Lean {
    /// The processes of a child that were made and have not ended, as `inspect` shows them.
    pub(super) fn exec_ids(&self, container: &str) -> Value {
        let execs = lock(&self.execs);
        let own = execs
            .values()
            .filter(|exec| exec.container == container && lock(&exec.doing).code.is_none());
        let ids: Vec<&str> = own.map(|exec| exec.id.as_str()).collect();
        if ids.is_empty() { Value::Null } else { json!(ids) }
    }

    fn running_execs(&self, container: &str) -> usize {
        let execs = lock(&self.execs);
        let own = execs.values().filter(|exec| exec.container == container);
        own.filter(|exec| lock(&exec.doing).running).count()
    }

    fn exec(&self, id: &str) -> Option<Arc<Exec>> {
        lock(&self.execs).get(id).cloned()
    }
}

/// `POST /containers/ID/exec`.
pub(super) fn create(
    context: &Context,
    lean: &Lean,
    (known, child): (&Child, &LeanChild),
    asked: &ExecCreate,
) -> Result<Answer, Refusal> {
    match child.doing().status {
        Status::Running => {}
        Status::Paused => {
            let name = lock(&child.name).clone();
            return Err(conflict(format!(
                "Container {name} is paused, unpause the container before exec"
            )));
        }
        _ => return Err(conflict(format!("Container {} is not running", child.id))),
    }
    context.shared.children().may_exec(&child.id)?;
    if lean.running_execs(&child.id) >= RUNNING {
        return Err(Refusal {
            status: 429,
            message: format!("{RUNNING} processes of exec run in this container; wait for some of them"),
        });
    }
    let id = identifier()?;
    let asked = asked.body();
    let exec = Exec {
        id: id.clone(),
        container: child.id.clone(),
        of: known.clone(),
        asked: Mutex::new(asked),
        doing: Mutex::default(),
    };
    Keys::parse(&exec.text("DetachKeys"))?;
    let command = exec.texts("Cmd");
    if command.is_empty() {
        return Err(Refusal::malformed("No exec command specified"));
    }
    let mut execs = lock(&lean.execs);
    // Those that ended are shown for a while.
    let ended = execs
        .values()
        .filter(|exec| exec.container == child.id && lock(&exec.doing).code.is_some())
        .count();
    if ended > 256 {
        execs.retain(|_, exec| exec.container != child.id || lock(&exec.doing).code.is_none());
    }
    execs.insert(id.clone(), Arc::new(exec));
    drop(execs);
    context.shared.children().exec_waits(&child.id, &id);
    let action = format!("exec_create: {}", said(&command));
    lean.events
        .say(&context.shared, child, &action, &[("execID", id.clone())]);
    Ok(crate::answer::json(StatusCode::CREATED, &json!({ "Id": id })))
}

/// A command as events tell it: its first word and the others, also where there are none.
fn said(command: &[String]) -> String {
    let (first, rest) = command
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut said = format!("{first} {}", rest.join(" "));
    said.truncate(said.floor_char_boundary(TOLD));
    said
}

/// Forgets the processes of a child that is gone. Whoever waits for one asks for its code when its output is over: of
/// those that were started that is kept for a moment, and no more of what they were.
pub(super) fn leave(shared: &Arc<Shared>, lean: &Arc<Lean>, container: &str) {
    let mut execs = lock(&lean.execs);
    execs.retain(|_, exec| exec.container != container || lock(&exec.doing).begun);
    let left = execs.values().filter(|exec| exec.container == container);
    let left: Vec<String> = left.map(|exec| exec.id.clone()).collect();
    for id in &left {
        if let Some(mut asked) = execs.get(id).map(|exec| lock(&exec.asked))
            && let Some(fields) = asked.as_object_mut()
        {
            fields.retain(|_, value| value.is_boolean());
        }
    }
    drop(execs);
    if left.is_empty() {
        return;
    }
    let (lean, stop) = (lean.clone(), shared.stop.clone());
    shared.tasks.spawn(async move {
        // Skep's end is the end of all of them.
        drop(tokio::time::timeout(ASKED, stop.cancelled()).await);
        lock(&lean.execs).retain(|id, _| !left.contains(id));
    });
}

fn conflict(message: String) -> Refusal {
    Refusal { status: 409, message }
}

/// `GET /exec/ID/json`, where it is one of these.
pub(crate) fn inspected(context: &Context, id: &str) -> Option<Value> {
    let exec = context.shared.lean()?.exec(id)?;
    let is_own = context.holder.sees(&context.shared, &exec.of);
    is_own.then(|| exec.shown())
}

/// `POST /exec/ID/resize`, where it is one of these.
pub(crate) fn resized(context: &Context, id: &str) -> Option<Result<Answer, Refusal>> {
    let exec = context.shared.lean()?.exec(id)?;
    let doing = lock(&exec.doing);
    let resized = doing
        .master
        .as_ref()
        .map(|master| streams::resize(master, super::calls::size(context)));
    Some(match resized {
        Some(Ok(())) => Ok(nothing(StatusCode::OK)),
        _ => Err(conflict(
            "the process has no terminal, or does not run".to_owned(),
        )),
    })
}

/// `POST /exec/ID/start`, where it is one of these.
pub(crate) async fn started(
    context: &Context,
    id: &str,
    (headers, upgrade): (&HeaderMap, OnUpgrade),
    asked: &ExecStart,
) -> Option<Result<Answer, Refusal>> {
    let lean = context.shared.lean()?;
    let exec = lean.exec(id)?;
    Some(start(context, &lean, &exec, (headers, upgrade), asked).await)
}

async fn start(
    context: &Context,
    lean: &Arc<Lean>,
    exec: &Arc<Exec>,
    (headers, upgrade): (&HeaderMap, OnUpgrade),
    asked: &ExecStart,
) -> Result<Answer, Refusal> {
    // As with Docker, who starts it says how its streams come, whatever was said when it was made.
    let (detach, raw) = (asked.detach(), asked.tty());
    let child = lean.child(&exec.container);
    let child = child.ok_or_else(|| Refusal::not_found(format!("No such container: {}", exec.container)))?;
    let running = child.doing().running;
    let running = running.ok_or_else(|| conflict(format!("Container {} is not running", child.id)))?;
    let (keys, followed) = (Some(Keys::parse(&exec.text("DetachKeys"))?), child.clone());
    if std::mem::replace(&mut lock(&exec.doing).begun, true) {
        return Err(conflict(format!(
            "Error: Exec command {} is already running",
            exec.id
        )));
    }
    context.shared.children().exec_started(&child.id, &exec.id);
    let terminal = exec.flag("Tty");
    let broken = |error: std::io::Error| super::create::failed(&error.to_string());
    let (theirs, mut ours) = streams::make(terminal, exec.flag("AttachStdin") && !detach).map_err(broken)?;
    let (command, directory) = (exec.texts("Cmd"), exec.text("WorkingDir"));
    let action = format!("exec_start: {}", said(&command));
    lean.events
        .say(&context.shared, &child, &action, &[("execID", exec.id.clone())]);
    let first = command.first().cloned().unwrap_or_default();
    let engine = &context.shared.engine_version;
    let joined = if directory.is_empty() || directory.starts_with('/') {
        let joined = running.join(JoinRun {
            arguments: command,
            environment: exec.texts("Env"),
            directory,
            user: exec.text("User"),
            streams: theirs,
            terminal: terminal.then(|| asked.console().unwrap_or((0, 0))),
        });
        let joined = joined.await;
        joined.map_err(|error| words::of_exec(&first, &error, child.doing().status.runs(), engine))
    } else {
        Err(words::of_relative_directory(engine))
    };
    let joined = match joined {
        Ok(joined) => joined,
        Err(Said {
            status,
            code,
            message,
        }) => {
            lock(&exec.doing).code = Some(i32::try_from(code).unwrap_or(126));
            if detach {
                return Err(Refusal { status, message });
            }
            let said = Bytes::from(format!("{message}\r\n"));
            let (follower, outputs) = mpsc::channel(attach::WAITING);
            drop(follower.try_send((1, said)));
            drop(follower);
            let output = attach::framed(outputs, [true, true], raw);
            return Ok(attach::answer(
                context,
                (headers, Some(upgrade)),
                raw,
                output,
                None,
            ));
        }
    };
    drop(running);
    ours.take_terminal().map_err(broken)?;
    {
        let mut doing = lock(&exec.doing);
        (doing.running, doing.pid) = (true, joined.process);
        doing.master = ours.master.take();
    }
    let (follower, outputs) = mpsc::channel(attach::WAITING);
    let mut readers = Vec::new();
    for (stream, mut from) in ours.outputs {
        let follower = follower.clone();
        readers.push(context.shared.tasks.spawn(async move {
            let mut buffer = vec![0; 32 << 10];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                // Still read where nobody follows, so that it never waits for that.
                drop(
                    follower
                        .send((stream, Bytes::copy_from_slice(&buffer[..length])))
                        .await,
                );
            }
        }));
    }
    let ending = (context.shared.clone(), lean.clone(), child, exec.clone());
    context.shared.tasks.spawn(async move {
        let (shared, lean, child, exec) = ending;
        let code = joined.exited.await.unwrap_or(137);
        for reader in readers {
            drop(reader.await);
        }
        {
            let mut doing = lock(&exec.doing);
            (doing.running, doing.code, doing.master) = (false, Some(code), None);
        }
        let more = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
        lean.events.say(&shared, &child, "exec_die", &more);
        // Who follows hears the end only when the code can be asked for.
        drop(follower);
    });
    if detach {
        return Ok(nothing(StatusCode::OK));
    }
    let input = ours.input.map(|mut to| {
        let (sender, mut inbox) = mpsc::channel::<Option<Bytes>>(attach::UNREAD);
        let place = context.place.clone();
        context.shared.tasks.spawn(async move {
            while let Some(Some(bytes)) = inbox.recv().await {
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            drop(place);
        });
        let (shared, lean, child) = (context.shared.clone(), lean.clone(), followed);
        let id = exec.id.clone();
        attach::Input {
            to: sender,
            keys: keys.filter(|_| terminal),
            left: Box::new(move || lean.events.say(&shared, &child, "exec_detach", &[("execID", id)])),
        }
    });
    let wanted = [exec.flag("AttachStdout"), exec.flag("AttachStderr")];
    let output = attach::framed(outputs, [wanted[0] || terminal, wanted[1]], raw);
    Ok(attach::answer(
        context,
        (headers, Some(upgrade)),
        raw,
        output,
        input,
    ))
}
