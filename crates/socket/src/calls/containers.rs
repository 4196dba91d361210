//! What is done with one child. Which child it is was settled before anything goes on: the daemon is told its id.

use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use serde_json::Value;
use skep_grant::{ContainerCall, ExecCreate, Refusal};

use super::{Context, json, lines, show, whole};
use crate::answer::{Answer, BodyError, empty, full};
use crate::children::{Child, State};
use crate::daemon::understood;
use crate::names;

/// The largest archive that is put into a child.
const LARGEST_ARCHIVE: u64 = 1 << 30;

/// Answers a call about one container.
pub(super) async fn call(
    mut context: Context,
    name: &str,
    call: ContainerCall,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    // dockerode's word to itself.
    context.query.take("hijack");
    let child = context.shared.find(&context.holder, name)?;
    let path = |tail: &str| format!("/containers/{}{tail}{}", child.id, context.query.written());
    match call {
        ContainerCall::Inspect => inspect(&context, &child).await,
        ContainerCall::Logs => get(&context, path("/logs")).await,
        ContainerCall::Stats => {
            let target = path("/stats");
            stats(context, target).await
        }
        ContainerCall::Changes => get(&context, path("/changes")).await,
        ContainerCall::Export => get(&context, path("/export")).await,
        ContainerCall::ArchiveGet => get(&context, path("/archive")).await,
        ContainerCall::Top => {
            plain_columns(context.query.get("ps_args").unwrap_or_default())?;
            get(&context, path("/top")).await
        }
        ContainerCall::ArchiveHead => {
            let call = context.outgoing(Method::HEAD, path("/archive"), empty());
            context.forward(call).await
        }
        ContainerCall::ArchivePut => {
            let body = Measured {
                inner: request.into_body(),
                left: LARGEST_ARCHIVE,
            };
            let mut call = context.outgoing(Method::PUT, path("/archive"), body.boxed_unsync());
            call.archive = true;
            context.forward(call).await
        }
        ContainerCall::Start => {
            whole(request).await?;
            may_run(&context, &child).await?;
            post(&context, path("/start")).await
        }
        ContainerCall::Restart => {
            may_run(&context, &child).await?;
            post(&context, path("/restart")).await
        }
        ContainerCall::Stop => post(&context, path("/stop")).await,
        ContainerCall::Kill => post(&context, path("/kill")).await,
        ContainerCall::Wait => post(&context, path("/wait")).await,
        ContainerCall::Resize => post(&context, path("/resize")).await,
        ContainerCall::Pause => post(&context, path("/pause")).await,
        ContainerCall::Unpause => post(&context, path("/unpause")).await,
        ContainerCall::Rename => rename(&context, &child).await,
        ContainerCall::Attach => {
            let target = path("/attach");
            let upgrade = hyper::upgrade::on(&mut request);
            context
                .hijack(request.headers().clone(), Some(upgrade), target, None)
                .await
        }
        ContainerCall::ExecCreate => exec_create(&context, &child, request).await,
        ContainerCall::Remove => remove(&context, &child).await,
    }
}

async fn get(context: &Context, path: String) -> Result<Answer, Refusal> {
    context
        .forward(context.outgoing(Method::GET, path, empty()))
        .await
}

async fn post(context: &Context, path: String) -> Result<Answer, Refusal> {
    context
        .forward(context.outgoing(Method::POST, path, empty()))
        .await
}

/// Each measurement names the container.
async fn stats(context: Context, path: String) -> Result<Answer, Refusal> {
    let call = context.outgoing(Method::GET, path, empty());
    let response = context.shared.daemon.send(call).await?;
    if !response.status().is_success() {
        return context.passed(response).await;
    }
    Ok(lines::passed(response.into_body(), move |line| {
        let text = std::str::from_utf8(line).ok()?;
        Some(context.shared.said(&context.holder, text.trim_end()))
    }))
}

async fn inspect(context: &Context, child: &Child) -> Result<Answer, Refusal> {
    let path = format!("/containers/{}/json{}", child.id, context.query.written());
    let call = context.outgoing(Method::GET, path, empty());
    let response = context.shared.daemon.send(call).await?;
    let status = response.status();
    let mut value = understood(status, &crate::daemon::whole(response.into_body()).await?)?;
    show::inspect(&context.shared, child, &mut value);
    Ok(crate::answer::json(status, &value))
}

/// A child that ended counts again when it runs again.
async fn may_run(context: &Context, child: &Child) -> Result<(), Refusal> {
    let shared = &context.shared;
    // The cgroup above all of them may have gone with the last one that ran.
    shared
        .shares
        .of(&shared.namespace, &context.holder.function, &context.holder.spawn);
    let admitted = |spawn| {
        let mut children = shared.children();
        children.may_restart(spawn, &child.id)?;
        // Counted from now on, so that two who ended can't both take the last place.
        if let Some(child) = children.get_mut(&child.id) {
            child.state = match child.state {
                State::Exited(_) => State::Created,
                other => other,
            };
        }
        Ok(())
    };
    if admitted(&context.holder.spawn).is_ok() {
        return Ok(());
    }
    shared.look_now().await;
    admitted(&context.holder.spawn)
}

async fn rename(context: &Context, child: &Child) -> Result<Answer, Refusal> {
    let shared = &context.shared;
    let name = names::asked(context.query.get("name").unwrap_or_default())?;
    let real = format!(
        "{}{name}",
        names::prefix(&shared.namespace, &child.marks.function)
    );
    let answer = post(context, format!("/containers/{}/rename?name={real}", child.id)).await?;
    if let Some(child) = shared.children().get_mut(&child.id) {
        child.name = name;
    }
    Ok(answer)
}

async fn remove(context: &Context, child: &Child) -> Result<Answer, Refusal> {
    if context.query.flag("link") {
        return Err(Refusal::forbidden(
            "links between containers are not given through this socket",
        ));
    }
    let path = format!("/containers/{}{}", child.id, context.query.written());
    let answer = context
        .forward(context.outgoing(Method::DELETE, path, empty()))
        .await?;
    context.shared.gone(&child.id);
    Ok(answer)
}

/// A process in a child has the child's own rights: for a function's container, the user that its template names.
async fn exec_create(
    context: &Context,
    child: &Child,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let exec = ExecCreate::parse(json(request).await?)?;
    if !exec.user.is_empty() && context.shared.is_function(child) {
        return Err(Refusal::forbidden(format!(
            "User: {} is a function, and its template has settled as whom it runs",
            child.marks.asked
        )));
    }
    let path = format!("/containers/{}/exec", child.id);
    let call = context.outgoing(Method::POST, path, full(exec.body().to_string()));
    let response = context.shared.daemon.send(call).await?;
    let status = response.status();
    let value: Value = understood(status, &crate::daemon::whole(response.into_body()).await?)?;
    Ok(crate::answer::json(status, &value))
}

/// `ps` runs on the host, with what is written here: columns by name, and nothing that renames one.
fn plain_columns(arguments: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ,-".contains(&byte);
    let word = |word: &str| {
        matches!(
            word,
            "aux" | "-aux" | "ax" | "-ef" | "-e" | "-f" | "ef" | "-eo" | "-o" | "-eLf" | "-l" | "axo"
        ) || word.split(',').all(|column| {
            matches!(
                column,
                "pid"
                    | "ppid"
                    | "user"
                    | "uid"
                    | "group"
                    | "gid"
                    | "comm"
                    | "cmd"
                    | "args"
                    | "command"
                    | "time"
                    | "etime"
                    | "stime"
                    | "tty"
                    | "stat"
                    | "state"
                    | "pcpu"
                    | "pmem"
                    | "rss"
                    | "vsz"
                    | "nice"
            )
        })
    };
    if arguments.bytes().all(plain) && arguments.split_whitespace().all(word) {
        Ok(())
    } else {
        Err(Refusal::forbidden(format!(
            "ps_args={arguments:?}: not arguments that this socket hands on"
        )))
    }
}

/// A body that ends with an error when it is longer than it may be.
struct Measured {
    inner: Incoming,
    left: u64,
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err("the archive is larger than 1 GiB".into()))),
        }
    }
}
