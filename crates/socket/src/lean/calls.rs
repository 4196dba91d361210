//! What is done with one child of this kind.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use skep_grant::{ContainerCall, ExecCreate, Refusal};

use super::child::{LeanChild, Status};
use super::conversation::attached;
use super::create::failed;
use super::room::Room;
use super::{Lean, archive, attach, changes, exec, inspect, lock, logs, run, stats, streams, wait};
use crate::answer::{Answer, Body, json, nothing};
use crate::calls::{Context, admitted, plain_columns, show_inspect};
use crate::child::Child;
use crate::names;

/// Answers a call about a child.
pub(crate) async fn call(
    context: Context,
    known: Child,
    child: Arc<LeanChild>,
    call: ContainerCall,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let shared = context.shared.clone();
    let Some(lean) = shared.lean() else {
        return Err(failed("there is no lean engine"));
    };
    let query = |name: &str| context.query.get(name).unwrap_or_default();
    let working = || lean.works.place(&child.request.function);
    match call {
        ContainerCall::Inspect => {
            let mut value = inspect::whole(&shared, &lean, &child, context.query.flag("size")).await;
            show_inspect(&shared, &known, &mut value);
            Ok(json(StatusCode::OK, &value))
        }
        ContainerCall::Logs => {
            let wanted = logs::Wanted::read(&context.query, &child)?;
            let kind = attach::kind(&context, child.has_terminal());
            logs::logs(&child, wanted, kind).await
        }
        ContainerCall::Wait => wait::wait(&child, query("condition")),
        ContainerCall::Start => {
            crate::calls::whole(request).await?;
            start(context, known, child, lean, None).await
        }
        ContainerCall::Restart => {
            let stop = stopping(&context, &child);
            start(context, known, child, lean, Some(stop)).await
        }
        ContainerCall::Stop => stop(&context, &lean, child).await,
        ContainerCall::Kill => kill(&context, &lean, &child),
        ContainerCall::Pause => freeze(&context, &lean, &child, true).await,
        ContainerCall::Unpause => freeze(&context, &lean, &child, false).await,
        ContainerCall::Rename => rename(&context, &lean, &known, &child).await,
        ContainerCall::Remove => remove(&context, &child).await,
        ContainerCall::Attach => {
            let upgrade = hyper::upgrade::on(&mut request);
            attached(&context, &lean, &child, (request.headers(), upgrade)).await
        }
        ContainerCall::Resize => {
            let master = child.doing().master;
            let master = master.ok_or_else(|| conflict(format!("Container {} is not running", child.id)))?;
            let resized = streams::resize(&master, size(&context));
            resized.map_err(|error| failed(&error.to_string()))?;
            Ok(nothing(StatusCode::OK))
        }
        ContainerCall::ExecCreate => {
            let asked = ExecCreate::parse(crate::calls::json(request).await?)?;
            if !asked.user.is_empty() && known.marks.of_template {
                let function = &known.marks.asked;
                return Err(Refusal::forbidden(format!(
                    "User: {function} is a function, and its template has settled as whom it runs"
                )));
            }
            exec::create(&context, &lean, (&known, &child), &asked)
        }
        ContainerCall::Stats => {
            let follow = context.query.get("stream").is_none() || context.query.flag("stream");
            Ok(stats::stats(&child, follow, context.query.flag("one-shot")).await)
        }
        ContainerCall::Top => {
            plain_columns(query("ps_args"))?;
            let _working = working().await?;
            let top = stats::top(&child, query("ps_args")).await?;
            lean.events.say(&shared, &child, "top", &[]);
            Ok(top)
        }
        ContainerCall::ArchiveHead => {
            let path = archive::named(context.query.get("path"))?;
            let _working = working().await?;
            archive::head(&child, &mounts(&context, &child).await?, path).await
        }
        ContainerCall::ArchiveGet => {
            let path = archive::named(context.query.get("path"))?;
            let mounts = mounts(&context, &child).await?;
            let archive = archive::get(&child, &mounts, path, false, working().await?).await?;
            lean.events.say(&shared, &child, "archive-path", &[]);
            Ok(archive)
        }
        ContainerCall::Export => {
            let mounts = mounts(&context, &child).await?;
            let archive = archive::get(&child, &mounts, "/", true, working().await?).await?;
            lean.events.say(&shared, &child, "export", &[]);
            Ok(archive)
        }
        ContainerCall::ArchivePut => {
            let asked = archive::named(context.query.get("path")).map(|path| archive::Put {
                path,
                keeps_kinds: context.query.flag("noOverwriteDirNonDir"),
                makes_devices: makes_devices(&child),
            });
            let ready = match asked {
                Ok(asked) => mounts(&context, &child).await.map(|mounts| (asked, mounts)),
                Err(refusal) => Err(refusal),
            };
            let (asked, mounts) = match ready {
                Ok(ready) => ready,
                Err(refusal) => {
                    crate::calls::forgo(request).await;
                    return Err(refusal);
                }
            };
            let body: Body = crate::calls::measured(request.into_body());
            let working = working().await?;
            let room = Room::of(&shared, &lean, &child).await;
            let places = (working, lean.works.dictionaries(&child.request.function));
            let put = archive::put(&child, &mounts, asked, body, room, places).await;
            if child.doing().status == Status::Exited {
                lean.bound_files(&shared, &child);
            }
            let put = put?;
            lean.events.say(&shared, &child, "extract-to-dir", &[]);
            Ok(put)
        }
        ContainerCall::Changes => {
            let mounts = mounts(&context, &child).await?;
            let _working = working().await?;
            changes::changes(&shared, &child, &mounts).await
        }
    }
}

pub(super) fn size(context: &Context) -> (u16, u16) {
    let number = |name: &str| {
        context
            .query
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    (number("h"), number("w"))
}

pub(super) fn conflict(message: String) -> Refusal {
    Refusal { status: 409, message }
}

/// The signal, and the time that a child then has; none is for ever.
fn stopping(context: &Context, child: &LeanChild) -> (i32, Option<Duration>) {
    let named = [
        context.query.get("signal").unwrap_or_default(),
        child.text("/Config/StopSignal"),
    ];
    let signal = named
        .iter()
        .filter(|name| !name.is_empty())
        .find_map(|name| number(name));
    let own = child
        .inspect
        .pointer("/Config/StopTimeout")
        .and_then(serde_json::Value::as_i64);
    let seconds = context
        .query
        .get("t")
        .and_then(|text| text.parse().ok())
        .or(own)
        .unwrap_or(10);
    let grace = u64::try_from(seconds).ok().map(Duration::from_secs);
    (signal.unwrap_or(15), grace)
}

/// Whether a child's own root could make devices' nodes; Docker gives everybody that, and the cgroup says which of them
/// can be opened.
fn makes_devices(child: &LeanChild) -> bool {
    let mut dropped = child.texts("/HostConfig/CapDrop").into_iter();
    !dropped.any(|name| matches!(name.to_ascii_uppercase().as_str(), "ALL" | "MKNOD" | "CAP_MKNOD"))
}

/// A signal, by name or number.
fn number(text: &str) -> Option<i32> {
    match text.parse::<i32>() {
        Ok(number) => Some(number).filter(|number| (1..=64).contains(number)),
        Err(_) => skep_sys::signal_number(text),
    }
}

/// Starts a child, after stopping it where it is to be restarted; in a task of its own, as for Docker's.
async fn start(
    context: Context,
    known: Child,
    child: Arc<LeanChild>,
    lean: Arc<Lean>,
    restart: Option<(i32, Option<Duration>)>,
) -> Result<Answer, Refusal> {
    let tasks = context.shared.tasks.clone();
    let starting = tasks.spawn(async move {
        let shared = &context.shared;
        let _alone = child.busy.lock().await;
        if let Some(stop) = restart
            && child.doing().status.runs()
        {
            run::stop(shared, &lean, &child, stop).await;
        }
        if child.doing().status == Status::Running {
            return Ok(nothing(StatusCode::NOT_MODIFIED));
        }
        let admitted = admitted(&context, &known).await?;
        let started = run::start_alone(shared, &lean, &child).await;
        admitted.over(started.is_ok());
        started?;
        if restart.is_some() {
            lean.events.say(shared, &child, "restart", &[]);
        }
        Ok(nothing(StatusCode::NO_CONTENT))
    });
    starting.await.map_err(|_| run::broke_off())?
}

async fn stop(context: &Context, lean: &Arc<Lean>, child: Arc<LeanChild>) -> Result<Answer, Refusal> {
    if !child.doing().status.runs() {
        return Ok(nothing(StatusCode::NOT_MODIFIED));
    }
    let stop = stopping(context, &child);
    let (shared, lean) = (context.shared.clone(), lean.clone());
    let tasks = shared.tasks.clone();
    let stopped = tasks.spawn(async move { run::stop(&shared, &lean, &child, stop).await });
    stopped.await.map_err(|_| run::broke_off())?;
    Ok(nothing(StatusCode::NO_CONTENT))
}

fn kill(context: &Context, lean: &Lean, child: &LeanChild) -> Result<Answer, Refusal> {
    let asked = context
        .query
        .get("signal")
        .filter(|text| !text.is_empty())
        .unwrap_or("KILL");
    let signal = number(asked).ok_or_else(|| Refusal::malformed(format!("Invalid signal: {asked}")))?;
    if !child.doing().status.runs() {
        let id = &child.id;
        return Err(conflict(format!(
            "Cannot kill container: {id}: Container {id} is not running"
        )));
    }
    run::kill_and_tell(&context.shared, lean, child, signal);
    Ok(nothing(StatusCode::NO_CONTENT))
}

async fn freeze(context: &Context, lean: &Lean, child: &LeanChild, frozen: bool) -> Result<Answer, Refusal> {
    let _alone = child.busy.lock().await;
    let doing = child.doing();
    let Some(running) = &doing.running else {
        return Err(conflict(format!("Container {} is not running", child.id)));
    };
    match (doing.status, frozen) {
        (Status::Paused, true) => return Err(conflict(format!("Container {} is already paused", child.id))),
        (Status::Running, false) => return Err(failed(&format!("Container {} is not paused", child.id))),
        _ => {}
    }
    running
        .freeze(frozen)
        .map_err(|error| failed(&error.to_string()))?;
    child.change(|doing| {
        if doing.status.runs() {
            doing.status = if frozen { Status::Paused } else { Status::Running };
        }
    });
    lean.events.say(
        &context.shared,
        child,
        if frozen { "pause" } else { "unpause" },
        &[],
    );
    Ok(nothing(StatusCode::NO_CONTENT))
}

async fn rename(
    context: &Context,
    lean: &Lean,
    known: &Child,
    child: &Arc<LeanChild>,
) -> Result<Answer, Refusal> {
    let name = names::asked(context.query.get("name").unwrap_or_default())?;
    if name == known.name {
        return Err(Refusal::malformed(
            "Renaming a container with the same name as its current name",
        ));
    }
    let _giving = names::Giving::take(&context.shared, &known.marks.function, &name)?;
    let old = std::mem::replace(&mut *lock(&child.name), name.clone());
    child.write_down().await?;
    if let Some(known) = context.shared.children().get_mut(&child.id) {
        known.name = name;
    }
    lean.events.say(
        &context.shared,
        child,
        "rename",
        &[("oldName", format!("/{old}"))],
    );
    Ok(nothing(StatusCode::NO_CONTENT))
}

async fn remove(context: &Context, child: &Arc<LeanChild>) -> Result<Answer, Refusal> {
    if context.query.flag("link") {
        return Err(Refusal::forbidden(
            "links between containers are not given through this socket",
        ));
    }
    if child.doing().status.runs() && !context.query.flag("force") {
        let (id, paused) = (&child.id, child.doing().status == Status::Paused);
        return Err(conflict(if paused {
            format!(
                "You cannot remove a paused container {id}. Unpause and then stop the container before attempting removal or force remove"
            )
        } else {
            format!(
                "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
            )
        }));
    }
    let (shared, id) = (context.shared.clone(), child.id.clone());
    let tasks = shared.tasks.clone();
    let removing = tasks.spawn(async move { super::end(&shared, &id).await });
    removing.await.map_err(|_| run::broke_off())?;
    Ok(nothing(StatusCode::NO_CONTENT))
}

/// The mounts that a child's files are in. One that never ran gets its root now.
async fn mounts(context: &Context, child: &Arc<LeanChild>) -> Result<Arc<OwnedFd>, Refusal> {
    let _alone = child.busy.lock().await;
    let doing = child.doing();
    if let Some(mounts) = doing.mounts {
        return Ok(mounts);
    }
    if doing.ends > 0 || doing.status != Status::Created {
        return Err(failed(
            "the files of this container are no longer kept: they were in memory, and Skep ended or others needed the room",
        ));
    }
    run::lay_out(&context.shared, child).await
}
