//! Starting, ending and removing a child.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use skep_grant::Refusal;
use skep_lean::{ChildAhead, ChildRun, RunError, RunningChild};

use super::all::ENDED;
use super::child::{Doing, LeanChild, Status};
use super::create::failed;
use super::output::{LAST, Output};
use super::{Lean, ahead, exec, inspect, journal, lock, shapes, streams, words};
use crate::child::State;
use crate::shared::Shared;
use crate::{below, listener};

/// SIGKILL.
pub(super) const KILL: i32 = 9;
/// How long an ended child is given to be removed before it is looked what its files take.
const SETTLED: Duration = Duration::from_millis(20);

/// Starts a child, for who holds `busy`; `false` where it runs already.
pub(super) async fn start_alone(
    shared: &Arc<Shared>,
    lean: &Arc<Lean>,
    child: &Arc<LeanChild>,
) -> Result<bool, Refusal> {
    match child.doing().status {
        Status::Running => return Ok(false),
        Status::Paused => return Err(conflict("cannot start a paused container, try unpause instead")),
        Status::Removed => return Err(Refusal::not_found(format!("No such container: {}", child.id))),
        Status::Created | Status::Exited => {}
    }
    match run(shared, child).await {
        Ok((running, ours)) => {
            began(shared, lean, child, Arc::new(running), ours).await;
            Ok(true)
        }
        Err(error) => {
            let said = words::of_start(child.text("/Path"), &error);
            child.change(|doing| {
                doing.code = said.code;
                doing.error.clone_from(&said.message);
            });
            if child.removes_itself() {
                remove(shared, lean, child);
            }
            let (status, message) = (said.status, said.message);
            Err(Refusal { status, message })
        }
    }
}

fn conflict(message: &str) -> Refusal {
    Refusal {
        status: 409,
        message: message.to_owned(),
    }
}

async fn run(shared: &Arc<Shared>, child: &LeanChild) -> Result<(RunningChild, streams::Ours), RunError> {
    let broken = |message: String| RunError {
        message,
        error: None,
        own: false,
    };
    let known = shapes::of(shared, &child.request).await.map_err(broken)?;
    let terminal = child.has_terminal();
    let made = streams::make(terminal, child.flag("/Config/OpenStdin"));
    let (theirs, mut ours) = made.map_err(|error| broken(error.to_string()))?;
    let ChildAhead {
        name,
        hostname,
        arguments,
        environment,
    } = ahead::known(child);
    let size = |index: usize| {
        let size = child.inspect.pointer(&format!("/HostConfig/ConsoleSize/{index}"));
        size.and_then(|size| size.as_u64())
            .and_then(|size| u16::try_from(size).ok())
            .unwrap_or(0)
    };
    let mounts = child.doing().mounts;
    let socket = child.socket().map(|id| listener::path(shared, id));
    if socket.as_ref().is_some_and(|socket| !socket.exists()) {
        // An earlier Skep made it, and this one has not come to it yet.
        below::reopen(shared).await;
    }
    let prepared = ahead::take(child).await;
    let run = ChildRun {
        name,
        hostname,
        arguments,
        environment,
        streams: theirs,
        terminal: terminal.then(|| (size(0), size(1))),
        root: mounts.and_then(|mounts| mounts.try_clone().ok()),
        socket,
        networks: lock(&child.networks).clone(),
    };
    let running = known.shape.run(run, prepared).await?;
    ours.take_terminal().map_err(|error| broken(error.to_string()))?;
    Ok((running, ours))
}

/// Makes the root of a child that never ran, for who puts files into it.
pub(super) async fn lay_out(shared: &Arc<Shared>, child: &LeanChild) -> Result<Arc<OwnedFd>, Refusal> {
    ahead::give_up(child).await;
    let mounts = Arc::new(fresh_root(shared, child, child.id.clone()).await?);
    child.change(|doing| doing.mounts = Some(mounts.clone()));
    Ok(mounts)
}

/// A root as the child's was before it first ran.
pub(super) async fn fresh_root(
    shared: &Arc<Shared>,
    child: &LeanChild,
    name: String,
) -> Result<OwnedFd, Refusal> {
    let known = shapes::of(shared, &child.request)
        .await
        .map_err(|error| failed(&error))?;
    let (theirs, _ours) = streams::make(false, false).map_err(|error| failed(&error.to_string()))?;
    let run = ChildRun {
        name,
        hostname: child.text("/Config/Hostname").to_owned(),
        arguments: Vec::new(),
        environment: Vec::new(),
        streams: theirs,
        terminal: None,
        root: None,
        socket: None,
        networks: None,
    };
    let laid = known
        .shape
        .run(run, None)
        .await
        .map_err(|error| failed(&error.message))?;
    laid.exited().await;
    laid.mounts().ok_or_else(broke_off)
}

/// Takes a child for running, and sees to its end.
async fn began(
    shared: &Arc<Shared>,
    lean: &Arc<Lean>,
    child: &Arc<LeanChild>,
    running: Arc<RunningChild>,
    ours: streams::Ours,
) {
    let now = Timestamp::now();
    *child.input.lock().await = ours.input;
    child.change(|doing| {
        *doing = Doing {
            status: Status::Running,
            code: 0,
            error: String::new(),
            out_of_memory: false,
            started: Some(now),
            mounts: running.mounts().map(Arc::new),
            master: ours.master.map(Arc::new),
            running: Some(running.clone()),
            network: None,
            ..doing.clone()
        };
    });
    shared.children().runs(&child.id, now);
    lean.events.say(shared, child, "start", &[]);
    let (looked, at, on) = (shared.clone(), lean.clone(), running.clone());
    // Once for each sandbox; what it has of a network is shown of its children even when they have ended.
    shared
        .tasks
        .spawn(async move { drop(inspect::network(&looked, &at, &on).await) });
    let output = Output::read(shared, child, ours.outputs);
    let (shared, lean, child) = (shared.clone(), lean.clone(), child.clone());
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let exit = running.exited().await;
        let left = running
            .network_container()
            .and_then(|container| inspect::left(&lean, container));
        drop(running);
        output.over().await;
        ended(&shared, &lean, &child, exit, left).await;
    });
}

async fn ended(
    shared: &Arc<Shared>,
    lean: &Arc<Lean>,
    child: &Arc<LeanChild>,
    exit: skep_engine::Exit,
    left: Option<serde_json::Value>,
) {
    let stopping = shared.stop.is_cancelled() || lean.is_ending();
    // Whoever writes to somebody who does not read lets go when the end is told.
    if let Ok(mut input) = tokio::time::timeout(LAST, child.input.lock()).await {
        input.take();
    }
    let now = Timestamp::now();
    // Before anybody hears of its end: who does may start the next one at once.
    if let Some(known) = shared.children().get_mut(&child.id) {
        known.state = State::Exited(exit.code);
        known.ended = Some(now);
    }
    child.log.end();
    if exit.out_of_memory {
        lean.events.say(shared, child, "oom", &[]);
    }
    lean.events
        .say(shared, child, "die", &[("exitCode", exit.code.to_string())]);
    child.change(|doing| {
        doing.status = Status::Exited;
        doing.code = exit.code;
        doing.out_of_memory = exit.out_of_memory;
        doing.finished = Some(now);
        doing.ends += 1;
        (doing.running, doing.master, doing.network) = (None, None, left);
        if stopping {
            ENDED.clone_into(&mut doing.error);
        }
    });
    child.followers().clear();
    if child.removes_itself() {
        remove(shared, lean, child);
    } else {
        // Nobody waits for that, and most are removed at once.
        let mut watch = child.watch();
        let removed = watch.wait_for(|doing| doing.status == Status::Removed);
        if tokio::time::timeout(SETTLED, removed).await.is_err() {
            child.measure().await;
            lean.bound_files(shared, child);
        }
    }
}

/// Sends a signal, and gives a child that stands still the chance to take it.
pub(super) fn kill(child: &LeanChild, signal: i32) -> bool {
    let Some(running) = child.doing().running else {
        return false;
    };
    let sent = running.signal(signal).is_ok();
    if signal == KILL && child.doing().status == Status::Paused {
        drop(running.freeze(false));
    }
    sent
}

/// Waits for the end of the run that is under way.
pub(super) async fn over(child: &LeanChild) {
    let mut watch = child.watch();
    drop(watch.wait_for(|doing| !doing.status.runs()).await);
}

/// The same, and tells of it.
pub(super) fn kill_and_tell(shared: &Shared, lean: &Lean, child: &LeanChild, signal: i32) {
    // Before it is sent: what comes of it is told after it.
    lean.events
        .say(shared, child, "kill", &[("signal", signal.to_string())]);
    kill(child, signal);
}

/// Asks a child to end, and ends it where it does not.
pub(super) async fn stop(
    shared: &Shared,
    lean: &Lean,
    child: &LeanChild,
    (signal, grace): (i32, Option<Duration>),
) {
    kill_and_tell(shared, lean, child, signal);
    let ended = match grace {
        Some(grace) => tokio::time::timeout(grace, over(child)).await.is_ok(),
        None => false,
    };
    if !ended {
        if grace.is_some() {
            kill_and_tell(shared, lean, child, KILL);
        }
        over(child).await;
    }
    lean.events.say(shared, child, "stop", &[]);
}

/// Forgets a child that does not run.
pub(super) fn remove(shared: &Arc<Shared>, lean: &Arc<Lean>, child: &Arc<LeanChild>) {
    if lock(&lean.children).remove(&child.id).is_none() {
        return;
    }
    exec::leave(shared, lean, &child.id);
    let (folder, mounts) = (child.folder.clone(), child.doing().mounts);
    shared.gone(&child.id);
    lean.events.say(shared, child, "destroy", &[]);
    drop(lock(&child.ahead).take());
    child.change(|doing| {
        doing.status = Status::Removed;
        doing.mounts = None;
    });
    child.followers().clear();
    // Whoever lets go of mounts last takes them down, and waits for the kernel.
    shared.tasks.spawn_blocking(move || {
        drop(mounts);
        journal::forget(&folder);
    });
}

/// Ends and removes a child, whatever it is doing; `false` where it is none of these.
pub(crate) async fn end(shared: &Arc<Shared>, id: &str) -> bool {
    let Some(lean) = shared.lean() else {
        return false;
    };
    let Some(child) = lean.child(id) else {
        return false;
    };
    // Also for who holds it up: a restart may wait for ever for a child that ignores what asks it to end.
    if child.doing().status.runs() {
        kill_and_tell(shared, &lean, &child, KILL);
    }
    let _alone = child.busy.lock().await;
    if child.doing().status.runs() {
        kill(&child, KILL);
        over(&child).await;
    }
    remove(shared, &lean, &child);
    true
}

/// An answer where something broke off.
pub(super) fn broke_off() -> Refusal {
    failed("what was asked broke off")
}
