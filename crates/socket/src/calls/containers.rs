//! What is done with one child. Which child it is was settled before anything goes on: the daemon is told its id.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use serde_json::Value;
use skep_grant::{ContainerCall, ExecCreate, Refusal};

use super::{Context, forgo, json, lines, plain_columns, show, whole};
use crate::answer::{Answer, Body, BodyError, empty, full};
use crate::budget::Question;
use crate::child::Child;
use crate::daemon::understood;
use crate::names;
use crate::shared::Shared;

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
    let child = match context.shared.find(&context.holder, name) {
        Ok(child) if is_here(&context, &child, name).await? => child,
        Ok(_) => return super::afar::call(context, name, call, request).await,
        Err(Refusal { status: 404, .. }) if context.elsewhere().is_some() => {
            return super::afar::call(context, name, call, request).await;
        }
        Err(refusal) => {
            forgo(request).await;
            return Err(refusal);
        }
    };
    if call == ContainerCall::Rename {
        let name = names::asked(context.query.get("name").unwrap_or_default())?;
        super::afar::taken(&context, &name, None).await?;
    }
    if matches!(
        call,
        ContainerCall::Export
            | ContainerCall::ArchiveGet
            | ContainerCall::ArchiveHead
            | ContainerCall::ArchivePut
    ) && let Err(refusal) = files_are_open(&context, &child).await
    {
        forgo(request).await;
        return Err(refusal);
    }
    if let Some(own) = context.shared.lean().and_then(|lean| lean.child(&child.id)) {
        return crate::lean::call(context, child, own, call, request).await;
    }
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
            if let Err(refusal) = may_write(&child) {
                forgo(request).await;
                return Err(refusal);
            }
            if let Some(known) = context.shared.children().get_mut(&child.id) {
                known.disk = None;
            }
            let body = measured(request.into_body());
            let mut call = context.outgoing(Method::PUT, path("/archive"), body);
            call.archive = true;
            context.forward(call).await
        }
        ContainerCall::Start => {
            whole(request).await?;
            let path = path("/start");
            run(context, child, path).await
        }
        ContainerCall::Restart => {
            let path = path("/restart");
            run(context, child, path).await
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
        ContainerCall::Remove => remove(context, &child).await,
    }
}

/// Whether a child of this node is the one that is meant: a whole name or id is one child's on all nodes, the beginning of
/// an id need not be.
async fn is_here(context: &Context, child: &Child, text: &str) -> Result<bool, Refusal> {
    let name = text.strip_prefix('/').unwrap_or(text);
    if child.id == name || child.name == name || context.elsewhere().is_none() {
        return Ok(true);
    }
    context.is_only(name).await
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

/// An archive's body, no longer than one may be.
pub(crate) fn measured(body: Incoming) -> Body {
    let body = Measured {
        inner: body,
        left: LARGEST_ARCHIVE,
    };
    body.boxed_unsync()
}

/// A child that ended counts again when it runs again.
pub(crate) async fn may_run(context: &Context, child: &Child) -> Result<Starting, Refusal> {
    may_write(child)?;
    let shared = &context.shared;
    // The cgroup above all of them may have gone with the last one that ran.
    shared.share_of(&context.holder);
    let admitted = |spawn| {
        let mut children = shared.children();
        children.may_restart(spawn, &child.id)?;
        // Counted from now on, so that two who ended can't both take the last place.
        children.begin_start(&child.id);
        Ok(Starting {
            shared: Arc::clone(shared),
            id: child.id.clone(),
            succeeded: false,
        })
    };
    let starting = match admitted(&context.holder.spawn) {
        Ok(starting) => starting,
        Err(_) => {
            shared.look_now().await;
            admitted(&context.holder.spawn)?
        }
    };
    if !child.is_live() {
        shared.agreed(&context.holder, Question::Here).await?;
    }
    Ok(starting)
}

/// A child that has more on the disk than it may gets no chance to write.
fn may_write(child: &Child) -> Result<(), Refusal> {
    let over = child.over.clone();
    over.map_or(Ok(()), |message| Err(Refusal { status: 429, message }))
}

/// Starts a child, in a task of its own: the engine goes on with it where the client goes away.
async fn run(context: Context, child: Child, path: String) -> Result<Answer, Refusal> {
    let tasks = context.shared.tasks.clone();
    let running = tasks.spawn(async move {
        let starting = may_run(&context, &child).await?;
        starting.ended(post(&context, path).await)
    });
    running.await.map_err(|_| Refusal {
        status: 500,
        message: "starting the container broke off".to_owned(),
    })?
}

/// A start that is under way.
pub(crate) struct Starting {
    shared: Arc<Shared>,
    id: String,
    succeeded: bool,
}

impl Starting {
    /// It is over.
    pub(crate) fn over(mut self, succeeded: bool) {
        self.succeeded = succeeded;
    }

    fn ended(mut self, answer: Result<Answer, Refusal>) -> Result<Answer, Refusal> {
        self.succeeded = answer.is_ok();
        answer
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.shared.children().end_start(&self.id, self.succeeded);
    }
}

async fn rename(context: &Context, child: &Child) -> Result<Answer, Refusal> {
    let shared = &context.shared;
    let name = names::asked(context.query.get("name").unwrap_or_default())?;
    // Of its own name Docker says what there is to say.
    let _giving = (name != child.name)
        .then(|| names::Giving::take(shared, &child.marks.function, &name))
        .transpose()?;
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

async fn remove(mut context: Context, child: &Child) -> Result<Answer, Refusal> {
    if context.query.flag("link") {
        return Err(Refusal::forbidden(
            "links between containers are not given through this socket",
        ));
    }
    // Nobody could name its anonymous volumes any more: they would stay on the node for good.
    context.query.set("v", "1".to_owned());
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
    if !exec.user.is_empty() && child.marks.of_template {
        return Err(Refusal::forbidden(format!(
            "User: {} is a function, and its template has settled as whom it runs",
            child.marks.asked
        )));
    }
    context.shared.children().may_exec(&child.id)?;
    let path = format!("/containers/{}/exec", child.id);
    let call = context.outgoing(Method::POST, path, full(exec.body().to_string()));
    let response = context.shared.daemon.send(call).await?;
    let status = response.status();
    let value: Value = understood(status, &crate::daemon::whole(response.into_body()).await?)?;
    if let Some(exec) = value.get("Id").and_then(Value::as_str) {
        context.shared.children().exec_waits(&child.id, exec);
    }
    Ok(crate::answer::json(status, &value))
}

/// Files are copied by the daemon, as root with all its rights. In a function's container that is more than who runs
/// there may have, unless its template runs it so.
async fn files_are_open(context: &Context, child: &Child) -> Result<(), Refusal> {
    if !child.marks.of_template {
        return Ok(());
    }
    let own = context.shared.lean().and_then(|lean| lean.child(&child.id));
    let value = match own {
        Some(own) => own.settled().clone(),
        None => {
            let path = format!("/containers/{}/json", child.id);
            context.ask(Method::GET, path).await?
        }
    };
    let user = value.pointer("/Config/User").and_then(Value::as_str);
    let user = user.unwrap_or_default().split(':').next().unwrap_or_default();
    let dropped = value.pointer("/HostConfig/CapDrop").and_then(Value::as_array);
    if matches!(user, "" | "0" | "root") && dropped.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    Err(Refusal::forbidden(format!(
        "{} is a function, and its template has settled as whom it runs; files are copied as root",
        child.marks.asked
    )))
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
