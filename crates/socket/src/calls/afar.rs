//! Calls about children on other nodes: written afresh, answered there, and passed on.

use std::sync::Arc;

use futures::future::join_all;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde_json::Value;
use skep_grant::{ContainerCall, Create, ExecCreate, Refusal};
use skep_wire::{Making, Visit, Visitor};

use super::forward::{joined, kept};
use super::{Context, forgo, json, measured, wants_upgrade, whole};
use crate::answer::{Answer, Body, empty, full, nothing};
use crate::daemon::understood;
use crate::elsewhere::{Elsewhere, Unreached};
use crate::holder::Holder;
use crate::names;
use crate::shared::Shared;

/// A call for another node.
pub(crate) struct Sent {
    method: Method,
    /// Without the version, with the query.
    path: String,
    body: Body,
    archive: bool,
}

impl Sent {
    pub(crate) fn new(method: Method, path: String, body: Body) -> Self {
        Self {
            method,
            path,
            body,
            archive: false,
        }
    }

    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path, empty())
    }

    fn written(self, (major, minor): (u32, u32)) -> Result<Request<Body>, Refusal> {
        let kind = if self.archive {
            "application/x-tar"
        } else {
            "application/json"
        };
        let request = Request::builder()
            .method(self.method)
            .uri(format!("/v{major}.{minor}{}", self.path))
            .header(CONTENT_TYPE, kind)
            .body(self.body);
        request.map_err(|error| Refusal::malformed(error.to_string()))
    }
}

/// A child on another node.
struct Found {
    node: String,
    id: String,
    /// Whether its name is what was asked for, and not the beginning of its id.
    named: bool,
}

fn several(text: &str) -> Refusal {
    Refusal::malformed(format!("multiple IDs found with provided prefix: {text}"))
}

fn conflict(name: &str) -> Refusal {
    Refusal {
        status: 409,
        message: format!(
            "Conflict. The container name \"/{name}\" is already in use by a container on another node. You have to \
             remove (or rename) that container to be able to reuse that name."
        ),
    }
}

impl Context {
    /// The way to other nodes, for whoever speaks here. A visitor's own agent asks them all.
    pub(crate) fn elsewhere(&self) -> Option<Arc<dyn Elsewhere>> {
        let elsewhere = self.shared.elsewhere.get();
        elsewhere.filter(|_| !self.holder.is_visitor()).cloned()
    }

    fn visit(&self, node: &str) -> Visit {
        visit(&self.shared, &self.holder, node)
    }

    /// Asks another node; the answer is as it comes, of whatever status.
    pub(crate) async fn ask_there(&self, node: &str, sent: Sent) -> Result<Response<Incoming>, Unreached> {
        let Some(elsewhere) = self.elsewhere() else {
            return Err(Unreached::NotSent("this node knows of no other".to_owned()));
        };
        let request = sent.written(self.version);
        let request = request.map_err(|refusal| Unreached::NotSent(refusal.message))?;
        elsewhere.ask(self.visit(node), request).await
    }

    /// Asks every other node that holds children of the function; the answers of those that gave one.
    pub(crate) async fn ask_all(&self, method: Method, path: &str) -> Vec<(String, Value)> {
        let Some(elsewhere) = self.elsewhere() else {
            return Vec::new();
        };
        let nodes = elsewhere.holders(&self.holder.function).await;
        let method = &method;
        let asked = nodes.into_iter().map(|node| async move {
            let sent = Sent::new(method.clone(), path.to_owned(), empty());
            let response = self.ask_there(&node, sent).await.ok()?;
            let status = response.status();
            let bytes = crate::daemon::whole(response.into_body()).await.ok()?;
            Some((node, understood(status, &bytes).ok()?))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The node and the id of a child that is not here.
    pub(crate) async fn met(&self, text: &str) -> Result<(Arc<str>, String), Refusal> {
        let none = || Refusal::not_found(format!("No such container: {text}"));
        let name = text.strip_prefix('/').unwrap_or(text);
        if name.is_empty() || self.elsewhere().is_none() {
            return Err(none());
        }
        if let Some(node) = self.shared.met.node(name) {
            return Ok((node, name.to_owned()));
        }
        match &self.meant(name).await[..] {
            [] => Err(none()),
            [found] => {
                self.shared.met.meet(&found.id, &found.node);
                Ok((Arc::from(found.node.as_str()), found.id.clone()))
            }
            _ => Err(several(text)),
        }
    }

    /// Whether a child of this node, of whose id this is the beginning, is the only one that is meant; `false` where it is
    /// another node's.
    pub(crate) async fn is_only(&self, name: &str) -> Result<bool, Refusal> {
        match &self.meant(name).await[..] {
            [] => Ok(true),
            [found] if found.named => Ok(false),
            _ => Err(several(name)),
        }
    }

    /// The children of other nodes that a name or the beginning of an id means there.
    async fn meant(&self, name: &str) -> Vec<Found> {
        let found = self
            .ask_all(Method::GET, &format!("/containers/{name}/json"))
            .await;
        let found = found.into_iter().filter_map(|(node, value)| {
            let id = value.get("Id").and_then(Value::as_str)?.to_owned();
            let named = value.get("Name").and_then(Value::as_str)?.trim_start_matches('/') == name;
            Some(Found { node, id, named })
        });
        let mut found: Vec<_> = found.collect();
        // A whole name is meant before the beginning of an id is.
        if found.iter().any(|found| found.named) {
            found.retain(|found| found.named);
        }
        found
    }

    /// Sees to it that none of these nodes has a child of this name.
    pub(crate) async fn free_elsewhere(&self, name: &str, nodes: &[String]) -> Result<(), Refusal> {
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(());
        };
        let asked = nodes.iter().map(|node| {
            let visit = Visit {
                name: Some(name.to_owned()),
                ..self.visit(node)
            };
            let request = Sent::get("/containers/json".to_owned()).written(self.version);
            let elsewhere = &elsewhere;
            async move { elsewhere.ask(visit, request.ok()?).await.ok() }
        });
        let answers = join_all(asked).await;
        let mut answers = answers.into_iter().flatten();
        match answers.any(|answer| answer.status() == StatusCode::CONFLICT) {
            true => Err(conflict(name)),
            false => Ok(()),
        }
    }
}

/// Who speaks here, to another node.
fn visit(shared: &Shared, holder: &Holder, node: &str) -> Visit {
    let invocation = holder.invocation(shared);
    Visit {
        node: node.to_owned(),
        function: holder.function.to_string(),
        visitor: Visitor {
            id: holder.id(),
            is_child: holder.is_child(),
            above: holder.above.clone(),
            root: holder.root(invocation),
            invocation,
            generation: holder.generation,
            grant: holder.spawn.clone(),
        },
        making: None,
        name: None,
    }
}

/// What another node said, as the answer to the client.
pub(crate) fn passed(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let bare = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if bare {
        empty()
    } else {
        body.map_err(Into::into).boxed_unsync()
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = parts.status;
    kept(&parts.headers, answer.headers_mut());
    answer
}

/// Has a child made on another node; `None` where it was not, and may be made here.
pub(super) async fn create(
    context: &Context,
    create: &Create,
    name: &str,
    node: &str,
    making: Making,
) -> Result<Option<Answer>, Refusal> {
    let Some(elsewhere) = context.elsewhere() else {
        return Ok(None);
    };
    let path = format!("/containers/create?name={name}");
    let sent = Sent::new(Method::POST, path, full(create.written().to_string()));
    let visit = Visit {
        making: Some(making),
        ..context.visit(node)
    };
    let response = match elsewhere.ask(visit, sent.written(context.version)?).await {
        Ok(response) => response,
        Err(Unreached::NotSent(reason)) => {
            tracing::debug!(node, reason, "a child can't be made on the node with room");
            return Ok(None);
        }
        Err(lost) => return Err(lost.refusal()),
    };
    let status = response.status();
    let bytes = crate::daemon::whole(response.into_body()).await?;
    match understood(status, &bytes) {
        Ok(made) => {
            let id = made.get("Id").and_then(Value::as_str).unwrap_or_default();
            context.shared.met.meet(id, node);
            Ok(Some(crate::answer::json(status, &made)))
        }
        // Used up, or taken by another: so it is here.
        Err(refusal) if matches!(refusal.status, 409 | 429) => Err(refusal),
        Err(refusal) => {
            tracing::debug!(node, %refusal, "the node with room does not make a child");
            Ok(None)
        }
    }
}

/// Answers a call about one container of another node.
pub(super) async fn call(
    context: Context,
    text: &str,
    call: ContainerCall,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (node, id) = match context.met(text).await {
        Ok(met) => met,
        Err(refusal) => {
            forgo(request).await;
            return Err(refusal);
        }
    };
    let (method, tail) = call.written();
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let path = format!("/containers/{id}{tail}{}", context.query.written());
    match call {
        ContainerCall::Attach if wants_upgrade(request.headers()) => {
            let upgrade = hyper::upgrade::on(&mut request);
            return hijack(&context, &node, path, empty(), upgrade).await;
        }
        ContainerCall::Rename => {
            let name = names::asked(context.query.get("name").unwrap_or_default())?;
            if context
                .shared
                .children()
                .has_name(&context.holder.function, &name)
            {
                return Err(conflict(&name));
            }
            taken(&context, &name, Some(&*node)).await?;
        }
        _ => {}
    }
    let mut sent = Sent::new(method, path, empty());
    match call {
        ContainerCall::ExecCreate => {
            let exec = ExecCreate::parse(json(request).await?)?;
            sent.body = full(exec.body().to_string());
        }
        ContainerCall::ArchivePut => {
            (sent.body, sent.archive) = (measured(request.into_body()), true);
        }
        ContainerCall::Start => drop(whole(request).await?),
        _ => {}
    }
    let response = context.ask_there(&node, sent).await.map_err(Unreached::refusal)?;
    if call != ContainerCall::ExecCreate {
        return Ok(passed(response));
    }
    let status = response.status();
    let value = understood(status, &crate::daemon::whole(response.into_body()).await?)?;
    if let Some(exec) = value.get("Id").and_then(Value::as_str) {
        context.shared.met.meet(exec, &node);
    }
    Ok(crate::answer::json(status, &value))
}

/// Whether a name is free on all nodes but this one, and but one more.
pub(super) async fn taken(context: &Context, name: &str, but: Option<&str>) -> Result<(), Refusal> {
    let Some(elsewhere) = context.elsewhere() else {
        return Ok(());
    };
    let mut nodes = elsewhere.holders(&context.holder.function).await;
    nodes.retain(|node| Some(node.as_str()) != but);
    context.free_elsewhere(name, &nodes).await
}

/// Hands on a call whose connection becomes streams.
pub(super) async fn hijack(
    context: &Context,
    node: &str,
    path: String,
    body: Body,
    theirs: OnUpgrade,
) -> Result<Answer, Refusal> {
    let mut request = Sent::new(Method::POST, path, body).written(context.version)?;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    let Some(elsewhere) = context.elsewhere() else {
        return Err(Unreached::NotSent(String::new()).refusal());
    };
    let asked = elsewhere.ask(context.visit(node), request).await;
    let mut response = asked.map_err(Unreached::refusal)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(passed(response));
    }
    let ours = hyper::upgrade::on(&mut response);
    joined(context, theirs, ours);
    let mut answer = nothing(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    if let Some(kind) = response.headers().get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, kind.clone());
    }
    Ok(answer)
}
