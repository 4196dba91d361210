//! Runs accepted invocations: the stored request goes the way of every request, and its response is stored.

use std::sync::Arc;

use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use skep_backlog::{Ran, Runner};
use skep_invoke::{Body, BodyError, Invocation, Report};
use skep_model::{Ending, Function, Record};
use skep_store::{Accepted, Queue, StoreError, StoredResponse};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

use crate::asynchronous::Context;
use crate::gateway::Gateway;

const WINDOW: usize = 64 * 1024;

/// Runs what the store kept.
pub(crate) struct StoredRunner {
    gateway: Gateway,
}

impl StoredRunner {
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }

    async fn run_stored(&self, function: Arc<Function>, accepted: Accepted) -> Ran {
        let record = accepted.record;
        let request = match rebuild(accepted.request).await {
            Ok(request) => request,
            Err(reason) => return fault(record, reason),
        };
        let (report, ended) = oneshot::channel();
        let invocation = Box::new(Invocation {
            id: record.id,
            function,
            parent: record.parent,
            trigger: record.trigger,
            received: record.received,
            attempts: record.attempts,
            client: request.1.client,
            request: request.0,
            report: Report::To(report),
        });
        let response = self.gateway.run(invocation, request.1.door).await;
        let response = collect(self.gateway.store(), response).await;
        match ended.await {
            Ok(record) => Ran { record, response },
            Err(_) => fault(record, "the run ended without a record".to_owned()),
        }
    }
}

impl Runner for StoredRunner {
    fn run(&self, function: Arc<Function>, accepted: Accepted) -> BoxFuture<'_, Ran> {
        Box::pin(self.run_stored(function, accepted))
    }
}

async fn rebuild(stored: skep_store::Request) -> Result<(Request<Body>, Context), String> {
    let context = Context::from_text(&stored.context);
    let path: PathAndQuery = stored
        .path
        .parse()
        .map_err(|error| format!("the stored path: {error}"))?;
    let body = stored_body(&stored.body)
        .await
        .map_err(|error| error.with_sources())?;
    let mut request = Request::new(body);
    *request.method_mut() = stored.method;
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = stored.headers;
    Ok((request, context))
}

/// A stored body as a stream.
pub(crate) async fn stored_body(body: &skep_store::Body) -> Result<Body, StoreError> {
    if body.length() == 0 {
        return Ok(skep_invoke::empty());
    }
    let frames = ReaderStream::with_capacity(body.reader().await?, WINDOW).map_ok(Frame::data);
    Ok(StreamBody::new(frames.map_err(|error| BodyError::Storage(error.to_string()))).boxed_unsync())
}

/// Stores a response. One that breaks off, is too large or can't be written is read to its end all the same, so
/// that the work is done, and not kept.
async fn collect(store: &dyn Queue, response: Response<Body>) -> Option<StoredResponse> {
    let (parts, mut body) = response.into_parts();
    let mut writer = Some(store.response_body());
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return None };
        let (Ok(data), Some(open)) = (frame.into_data(), &mut writer) else {
            continue;
        };
        if let Err(error) = open.write(&data).await {
            tracing::warn!(
                error = error.with_sources(),
                "the response of an asynchronous invocation isn't kept"
            );
            writer = None;
        }
    }
    let finished = writer?.finish().await;
    let body = finished.map_err(|error| {
        tracing::warn!(
            error = error.with_sources(),
            "the response of an asynchronous invocation isn't kept"
        );
    });
    let mut headers = parts.headers;
    for name in [CONTENT_LENGTH, TRAILER] {
        headers.remove(name);
    }
    Some(StoredResponse {
        status: parts.status,
        headers,
        body: body.ok()?,
    })
}

fn fault(mut record: Record, reason: String) -> Ran {
    record.ending = Some(Ending::fault(reason));
    Ran {
        record,
        response: None,
    }
}
