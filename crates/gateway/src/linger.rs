//! What a caller still sends after its answer. Where HTTP/1 closes, or HTTP/2 resets the stream, before the caller
//! has read the answer, it may never get to read it (RFC 9112, section 9.6; RFC 9113, section 8.1). So what is left
//! of a body is thrown away for a while. HTTP/1 does so for its connection (`stream.rs`), this is HTTP/2's.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use skep_invoke::{Body, BodyError};
use tokio::time::{Instant, Sleep, timeout_at};
use tokio_util::task::TaskTracker;

/// How long a caller who was answered may be silent before no more is awaited.
pub(crate) const SILENT: Duration = Duration::from_secs(1);
/// How long it may go on sending.
pub(crate) const WHOLE: Duration = Duration::from_secs(10);

/// One body's rest, once nobody asks for it any more. Forgotten by all, it is read in a task among the connections',
/// and its stream reset with NO_ERROR at last. A connection that ends ends its bodies, and with them that task.
pub(crate) struct Leftover {
    rest: Mutex<Option<Rest>>,
    /// The whole body was read where it should be.
    complete: AtomicBool,
    tasks: TaskTracker,
}

struct Rest {
    incoming: Incoming,
    /// How many bytes are read at most.
    left: u64,
}

impl Leftover {
    pub(crate) fn new(tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            rest: Mutex::default(),
            complete: AtomicBool::new(false),
            tasks,
        })
    }

    /// Takes what is not asked for, if there is anything.
    pub(crate) fn put(&self, incoming: Incoming, limit: u64) {
        if incoming.is_end_stream() {
            self.complete.store(true, Ordering::Relaxed);
            return;
        }
        let left = limit;
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Rest { incoming, left });
    }

    /// Reads on. Ready with whether there was more, or not.
    fn poll_more(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *rest else {
            return Poll::Ready(false);
        };
        let polled = open.poll(cx);
        if polled == Poll::Ready(false) {
            *rest = None;
        }
        polled
    }

    /// Reads no more: the stream is reset behind the end of its answer.
    fn forget(&self) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_empty(&self) -> bool {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let rest = self.rest.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut rest) = rest.take() {
            self.tasks.spawn(async move {
                let whole = Instant::now() + WHOLE;
                loop {
                    let more = poll_fn(|cx| rest.poll(cx));
                    if timeout_at(whole.min(Instant::now() + SILENT), more).await != Ok(true) {
                        return;
                    }
                }
            });
        }
    }
}

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.incoming).poll_frame(cx).map(|frame| {
            let Some(Ok(frame)) = frame else { return false };
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.left = self.left.saturating_sub(length);
            self.left > 0
        })
    }
}

/// An answer whose end waits while its caller still sends. A caller need not read any more once it has the end (curl
/// does not), so it would never see its window grow, and wait for that for ever. For the same reason nothing is said
/// of the length, by which it would know the end.
struct Held {
    /// `None` once it has ended.
    body: Option<Body>,
    trailers: Option<Frame<Bytes>>,
    leftover: Arc<Leftover>,
    whole: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Lets an answer end when its caller has sent everything. An error is not held: it makes callers stop sending.
pub(crate) fn hold(mut response: Response<Body>, leftover: Arc<Leftover>) -> Response<Body> {
    let status = response.status();
    let complete = leftover.complete.load(Ordering::Relaxed);
    if complete || status.is_client_error() || status.is_server_error() || response.body().is_end_stream() {
        return response;
    }
    response.headers_mut().remove(CONTENT_LENGTH);
    response.map(|body| {
        Held {
            body: Some(body),
            trailers: None,
            leftover,
            whole: None,
            timer: None,
        }
        .boxed_unsync()
    })
}

impl Held {
    /// Ready when nothing comes any more, or when it has been enough.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let whole = *self.whole.get_or_insert_with(|| now + WHOLE);
        while let Poll::Ready(more) = self.leftover.poll_more(cx) {
            if !more || now >= whole {
                return Poll::Ready(());
            }
            self.timer = None;
        }
        let until = whole.min(now + SILENT);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        timer.as_mut().poll(cx)
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(body) = &mut this.body {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => this.trailers = Some(frame),
                None => {}
                other => return Poll::Ready(other),
            }
            this.body = None;
        }
        ready!(this.poll_rest(cx));
        this.leftover.forget();
        Poll::Ready(this.trailers.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
            && self.leftover.is_empty()
            && self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}
