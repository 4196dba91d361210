//! Connections that speak HTTP/1.1 to an instance, and what is done when one turns out to be closed.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use skep_dispatch::MAX_FIELDS;
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};
use tokio::time::{Duration, Instant};

use super::{Broken, Exchange};
use crate::silence::{Silence, Timer};
use crate::upload::Upload;

/// How long a server is trusted to keep an idle connection. Usual are 2 s and more; one that was frozen meanwhile
/// closes it in the moment in which it goes on, which is when a request is on its way.
const TRUSTED: Duration = Duration::from_secs(1);

/// An instance's connections that nobody uses just now.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Wire>>);

impl Idle {
    /// One that the runtime watches on which this runs, rather than another's.
    fn take(&self) -> Option<Wire> {
        let here = Handle::current().id();
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match wires.iter().rposition(|wire| wire.runtime == here) {
            Some(own) => Some(wires.swap_remove(own)),
            None => wires.pop(),
        }
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
    /// The exchange on it ends with its response: nothing more is to be sent, and both sides keep it open.
    ends_whole: bool,
    /// Whose reactor watches the socket.
    runtime: runtime::Id,
    /// What watched over the last request on it.
    timer: Option<Timer>,
    /// Since when nobody uses it.
    idle_since: Option<Instant>,
    /// Where it goes afterwards; `None` while it lies there, since each would keep the other.
    home: Option<Arc<Idle>>,
}

impl Wire {
    async fn open(stream: TcpStream, home: Arc<Idle>) -> Result<Self, Broken> {
        // A request that waits for Nagle's algorithm waits 40 ms.
        stream.set_nodelay(true).map_err(Broken::Connect)?;
        let mut builder = Builder::new();
        let handshake = builder.max_headers(MAX_FIELDS).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(Broken::Http)?;
        Ok(Self {
            sender,
            connection: Box::new(connection),
            stopped: false,
            ends_whole: false,
            runtime: Handle::current().id(),
            timer: None,
            idle_since: None,
            home: Some(home),
        })
    }

    fn is_here(&self) -> bool {
        self.runtime == Handle::current().id()
    }

    /// The same connection, watched from here. Everything it wakes is here from now on, where otherwise each
    /// message would go through another thread.
    async fn brought_here(self) -> Option<Self> {
        let parts = self.connection.into_parts();
        let stream = here(parts.io.into_inner()).ok()?;
        // What came unasked belongs to no response.
        let unused = parts.read_buf.is_empty();
        Self::open(stream, self.home?).await.ok().filter(|_| unused)
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
        // Mostly there is nothing to be moved, and whoever takes it looks at it anyway.
        if (self.ends_whole || self.usable())
            && let Some(home) = self.home.take()
        {
            self.timer = silence.into_timer();
            self.idle_since = Some(Instant::now());
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
    exchange: &mut Exchange,
    idle: Arc<Idle>,
) -> Result<(Response<Incoming>, Option<Wire>), Broken> {
    let repeatable = is_repeatable(&exchange.request);
    let waiting = if exchange.first.is_none() {
        usable(&idle, repeatable)
    } else {
        None
    };
    let waiting = match waiting {
        Some(wire) if wire.is_here() => Some(wire),
        Some(wire) => Box::pin(wire.brought_here()).await,
        None => None,
    };
    let Some(mut wire) = waiting else {
        return Box::pin(anew(exchange, idle)).await;
    };
    if let Some(timer) = wire.timer.take() {
        exchange.silence.wait_with(timer);
    }
    match send(&mut wire, exchange, repeatable).await {
        Ok(response) => Ok((response, Some(wire))),
        Err(failed) => {
            let again = failed.unsent.is_some() || repeatable;
            if !again || matches!(failed.broken, Broken::Timeout) || exchange.progress.touched() {
                return Err(failed.broken);
            }
            // The server closed the connection while the request was on its way. Once more, on a new one.
            if let Some(unsent) = failed.unsent {
                exchange.request = unsent;
            }
            Box::pin(anew(exchange, idle)).await
        }
    }
}

/// Sends a request on a new connection.
async fn anew(
    exchange: &mut Exchange,
    idle: Arc<Idle>,
) -> Result<(Response<Incoming>, Option<Wire>), Broken> {
    let stream = match exchange.first.take() {
        // It was opened where the instance was launched.
        Some(stream) => here(stream).map_err(Broken::Connect)?,
        None => exchange.instance.connect().await.map_err(Broken::Connect)?,
    };
    let mut wire = Wire::open(stream, idle).await?;
    match send(&mut wire, exchange, false).await {
        Ok(response) => Ok((response, Some(wire))),
        Err(failed) => Err(failed.broken),
    }
}

/// The stream, watched by the runtime that this runs on.
fn here(stream: TcpStream) -> std::io::Result<TcpStream> {
    TcpStream::from_std(stream.into_std()?)
}

/// An idle connection that still stands; closed ones are dropped on the way, and for a request that can't be repeated
/// also those of which a server may have had enough. They go first: one with a single thread looks at no other else.
fn usable(idle: &Arc<Idle>, repeatable: bool) -> Option<Wire> {
    loop {
        let mut wire = idle.take()?;
        let stale = wire.idle_since.is_some_and(|since| since.elapsed() > TRUSTED);
        if (repeatable || !stale) && wire.usable() {
            wire.home = Some(idle.clone());
            return Some(wire);
        }
    }
}

/// Whether sending the same request twice does no harm (RFC 9110, section 9.2.2), and it has no body.
fn is_repeatable(request: &Request<Upload>) -> bool {
    request.method().is_idempotent() && request.body().is_end_stream()
}

/// Whether the connection stays open after this response, as far as that tells.
fn keeps_open(response: &Response<Incoming>) -> bool {
    response.version() == Version::HTTP_11 && !response.headers().contains_key(CONNECTION)
}

/// Why there is no response, and the request where nothing of it was sent.
struct Failed {
    broken: Broken,
    unsent: Option<Request<Upload>>,
}

/// Sends and waits for the head, moving the connection meanwhile. With `keep` the request can be sent again.
fn send<'a>(
    wire: &'a mut Wire,
    exchange: &'a mut Exchange,
    keep: bool,
) -> impl Future<Output = Result<Response<Incoming>, Box<Failed>>> + Send + 'a {
    let Exchange {
        request,
        silence,
        progress,
        ..
    } = exchange;
    let mut left = Request::new(Upload::nothing(progress));
    if keep {
        *left.method_mut() = request.method().clone();
        *left.uri_mut() = request.uri().clone();
        *left.headers_mut() = request.headers().clone();
    }
    let request = std::mem::replace(request, left);
    let bare = request.body().is_end_stream();
    let mut sending = Box::pin(wire.sender.try_send_request(request));
    poll_fn(move |cx| {
        let _ = wire.poll(cx);
        // The machine alone brings what this waits for, and it was just moved, by the task that would be woken.
        let nobody = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(answered) = sending.as_mut().poll(nobody) else {
            return silence.poll(Some(progress.last()), cx).map(|()| {
                let (broken, unsent) = (Broken::Timeout, None);
                Err(Box::new(Failed { broken, unsent }))
            });
        };
        Poll::Ready(match answered {
            Ok(response) => {
                wire.ends_whole = bare && keeps_open(&response);
                Ok(response)
            }
            Err(mut error) => {
                let unsent = error.take_message();
                let broken = Broken::Http(error.into_error());
                Err(Box::new(Failed { broken, unsent }))
            }
        })
    })
}
