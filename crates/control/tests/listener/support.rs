//! A Skep with two functions, one invocation and one log line, and no engine.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::Value;
use skep_control::{Access, InvocationFilter, LogFilter, Node, Token, api, router};
use skep_model::{InvocationId, LogStream, Problem, Status, Trigger};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) struct FakeNode {
    pub(crate) invocations: Vec<InvocationId>,
    pub(crate) ready: bool,
}

impl Default for FakeNode {
    fn default() -> Self {
        Self {
            invocations: (0..3).map(|_| InvocationId::generate()).collect(),
            ready: true,
        }
    }
}

fn function(name: &str, state: api::FunctionState) -> api::Function {
    let ready = state == api::FunctionState::Ready;
    api::Function {
        name: name.to_owned(),
        state,
        reasons: if ready {
            Vec::new()
        } else {
            vec!["skep.max=x: must be a whole number".to_owned()]
        },
        template: "0123456789ab".to_owned(),
        template_name: format!("{name}-1"),
        revision: None,
        handler: None,
        engine: Some("lean".to_owned()),
        fallback: Vec::new(),
        routes: Vec::new(),
        image: None,
        created: None,
        instances: 0,
        running: 0,
        queued: 0,
    }
}

fn invocation(id: InvocationId) -> api::Invocation {
    api::Invocation {
        id: id.to_string(),
        function: "hello".to_owned(),
        revision: None,
        parent: None,
        trigger: Trigger::Request,
        status: Status::Running,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        received: Timestamp::UNIX_EPOCH,
        started: None,
        ended: None,
        instance: None,
        node: None,
        phases: Default::default(),
        attempts: 1,
        ending: None,
    }
}

impl Node for FakeNode {
    fn functions(&self) -> Vec<api::Function> {
        vec![
            function("broken", api::FunctionState::Invalid),
            function("hello", api::FunctionState::Ready),
        ]
    }

    fn function(&self, name: &str) -> Option<api::FunctionDetail> {
        let detail = |function, invalid| api::FunctionDetail {
            name: name.to_owned(),
            function,
            settings: Default::default(),
            networks: Vec::new(),
            memory: None,
            image_id: None,
            invalid,
        };
        match name {
            "hello" => Some(detail(
                Some(function("hello", api::FunctionState::Ready)),
                Vec::new(),
            )),
            "broken" => Some(detail(
                None,
                vec![function("broken", api::FunctionState::Invalid)],
            )),
            _ => None,
        }
    }

    fn sandboxes(&self) -> Vec<api::Sandbox> {
        Vec::new()
    }

    fn instances(&self) -> Vec<api::Instance> {
        Vec::new()
    }

    fn invocations(&self, filter: InvocationFilter) -> BoxFuture<'_, Result<Vec<api::Invocation>, Problem>> {
        let newest = self.invocations.iter().rev().copied();
        let older = newest.filter(|id| filter.before.is_none_or(|before| *id < before));
        let of_function = older.filter(|_| filter.function.as_deref().is_none_or(|name| name == "hello"));
        let page = of_function.take(filter.limit as usize).map(invocation).collect();
        Box::pin(async move { Ok(page) })
    }

    fn invocation(&self, id: InvocationId) -> BoxFuture<'_, Result<Option<api::Invocation>, Problem>> {
        let known = self.invocations.contains(&id);
        Box::pin(async move { Ok(known.then(|| invocation(id))) })
    }

    fn logs(
        &self,
        filter: LogFilter,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<api::LogLine, Problem>>, Problem>> {
        let line = api::LogLine {
            time: Timestamp::UNIX_EPOCH,
            function: "hello".to_owned(),
            instance: "i".to_owned(),
            invocation: filter.invocation.map(|id| id.to_string()),
            stream: LogStream::Stderr,
            text: "a line".to_owned(),
            node: None,
        };
        let kept = stream::iter([Ok(line)]);
        let lines = if filter.follow {
            kept.chain(stream::pending()).boxed()
        } else {
            kept.boxed()
        };
        Box::pin(async move { Ok(lines) })
    }

    fn invoke(&self, function: &str, request: Request<Body>) -> BoxFuture<'_, Response<Body>> {
        let saw = format!(
            "{function} {} {} authorization={}",
            request.method(),
            request.uri(),
            request.headers().contains_key("authorization")
        );
        Box::pin(async move { Response::new(Body::from(saw)) })
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<api::Check>> {
        let ok = self.ready;
        Box::pin(async move {
            vec![api::Check {
                name: "engine".to_owned(),
                ok,
                detail: None,
            }]
        })
    }
}

/// A listener on loopback in front of a node, with a token or without.
pub(crate) fn listener(node: FakeNode, token: Option<&str>) -> Router {
    let token = token.map(|text| Token::new(text).expect("the token has text"));
    let access = Access::new(
        "127.0.0.1:8081".parse().unwrap(),
        token,
        ["skep.example".to_owned()],
    )
    .unwrap();
    let mut registry = Registry::default();
    registry.register("skep_test", "A counter", Counter::<u64>::default());
    router(
        Arc::new(node),
        Arc::new(registry),
        access,
        CancellationToken::new(),
    )
}

/// Sends a request, and gives back the status, the header and the body.
pub(crate) async fn send(listener: Router, request: Request<Body>) -> (StatusCode, http::HeaderMap, Vec<u8>) {
    let response = listener.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (
        parts.status,
        parts.headers,
        body.collect().await.unwrap().to_bytes().to_vec(),
    )
}

/// A GET as an operator on the same host sends it.
pub(crate) fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "127.0.0.1:8081")
}

/// A GET that is answered with JSON.
pub(crate) async fn json(listener: Router, path: &str) -> (StatusCode, Value) {
    let (status, _, body) = send(listener, get(path).body(Body::empty()).unwrap()).await;
    (status, serde_json::from_slice(&body).unwrap())
}
