//! Connections that speak HTTP/1.1 to an instance, and what is done when one turns out to be closed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use skep_engine::Instance;
use tokio::net::TcpStream;

use super::Broken;
use crate::body::empty;
use crate::silence::{Silence, Timer};
use crate::upload::{Progress, Upload};

/// An instance's connections that nobody uses just now.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Wire>>);

impl Idle {
    fn take(&self) -> Option<Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, wire: Wire) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(wire);
    }
}

/// One connection, and the half of hyper's machine that moves its bytes.
pub(super) struct Wire {
    sender: SendRequest<Upload>,
    /// Large, and goes from hand to hand.
    connection: Box<Connection<TokioIo<TcpStream>, Upload>>,
    /// The machine has stopped, and must not be polled again.
    stopped: bool,
    /// What watched over the last request on it.
    timer: Option<Timer>,
    /// Where it goes afterwards; `None` while it lies there, since each would keep the other.
    home: Option<Arc<Idle>>,
}

impl Wire {
    async fn open(stream: TcpStream, home: Arc<Idle>) -> Result<Self, Broken> {
        // A request that waits for Nagle's algorithm waits 40 ms.
        stream.set_nodelay(true).map_err(Broken::Connect)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Broken::Http)?;
        Ok(Self {
            sender,
            connection: Box::new(connection),
            stopped: false,
            timer: None,
            home: Some(home),
        })
    }

    /// Moves bytes both ways; ready once the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stopped {
            return Poll::Ready(());
        }
        // What went wrong is also told to whoever waits for the response or reads its body.
        let over = Pin::new(&mut self.connection).poll(cx).is_ready();
        self.stopped = over;
        if over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether another request can be sent now. A server may have closed a connection that nobody looked at.
    fn usable(&mut self) -> bool {
        let nobody = &mut Context::from_waker(Waker::noop());
        self.poll(nobody).is_pending() && self.sender.is_ready()
    }

    /// Puts the connection back for the next request, if it can take one.
    pub(super) fn release(mut self, silence: Silence) {
        if self.usable()
            && let Some(home) = self.home.take()
        {
            self.timer = silence.into_timer();
            home.put(self);
        }
    }

    /// The socket after a switch of protocols, and what was read of the new one already.
    pub(super) async fn into_socket(mut self) -> (TcpStream, Bytes) {
        poll_fn(|cx| self.poll(cx)).await;
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

/// Sends a request on an idle connection, or on a new one.
pub(super) async fn exchange(
    instance: &Arc<dyn Instance>,
    first: Option<TcpStream>,
    idle: Arc<Idle>,
    mut request: Request<Upload>,
    silence: &mut Silence,
    progress: &Progress,
) -> Result<(Response<Incoming>, Option<Wire>), Broken> {
    let waiting = if first.is_none() { usable(&idle) } else { None };
    if let Some(mut wire) = waiting {
        let spare = repeatable(&request);
        if let Some(timer) = wire.timer.take() {
            silence.wait_with(timer);
        }
        match send(&mut wire, request, silence, progress).await {
            Ok(response) => return Ok((response, Some(wire))),
            Err((broken, unsent)) => match unsent.or(spare) {
                // The server closed the connection while the request was on its way. Once more, on a new one.
                Some(again) if !matches!(broken, Broken::Timeout) && !progress.touched() => request = again,
                _ => return Err(broken),
            },
        }
    }
    let stream = match first {
        Some(stream) => stream,
        None => instance.connect().await.map_err(Broken::Connect)?,
    };
    let mut wire = Wire::open(stream, idle).await?;
    match send(&mut wire, request, silence, progress).await {
        Ok(response) => Ok((response, Some(wire))),
        Err((broken, _)) => Err(broken),
    }
}

/// An idle connection that still stands; closed ones are dropped on the way.
fn usable(idle: &Arc<Idle>) -> Option<Wire> {
    loop {
        let mut wire = idle.take()?;
        if wire.usable() {
            wire.home = Some(idle.clone());
            return Some(wire);
        }
    }
}

/// The same request again, where sending it twice does no harm (RFC 9110, section 9.2.2) and it has no body.
fn repeatable(request: &Request<Upload>) -> Option<Request<Upload>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Upload::new(empty()));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

type Unsent = Option<Request<Upload>>;

/// Sends and waits for the head, moving the connection meanwhile.
async fn send(
    wire: &mut Wire,
    request: Request<Upload>,
    silence: &mut Silence,
    progress: &Progress,
) -> Result<Response<Incoming>, (Broken, Unsent)> {
    let mut sending = pin!(wire.sender.try_send_request(request));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = sending.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        let over = !wire.stopped && {
            wire.stopped = Pin::new(&mut wire.connection).poll(cx).is_ready();
            wire.stopped
        };
        match sending.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending if over => Poll::Pending,
            Poll::Pending => silence.poll(Some(progress.last()), cx).map(|()| None),
        }
    })
    .await;
    match answered {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut error)) => {
            let unsent = error.take_message();
            Err((Broken::Http(error.into_error()), unsent))
        }
        None => Err((Broken::Timeout, None)),
    }
}
