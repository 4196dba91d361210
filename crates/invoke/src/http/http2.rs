//! One connection that speaks HTTP/2 to an instance, shared by all its requests.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use skep_engine::Instance;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::{Broken, Exchange};
use crate::silence::Silence;
use crate::upload::{Progress, Upload};

/// How much may be on its way on one stream and on all together, in bytes.
const WINDOW: u32 = 1 << 20;

/// An instance's connection; it ends with the instance's last lease.
#[derive(Default)]
pub(super) struct Shared(Mutex<Option<Link>>);

struct Link {
    sender: SendRequest<Upload>,
    /// What moves the connection's bytes. It ends by itself when the connection does.
    _mover: AbortOnDropHandle<()>,
}

/// Sends a request and waits for the head.
pub(super) async fn exchange(exchange: &mut Exchange, shared: &Shared) -> Result<Response<Incoming>, Broken> {
    let Exchange {
        instance,
        first,
        request,
        silence,
        progress,
        ..
    } = exchange;
    let request = std::mem::replace(request, Request::new(Upload::nothing(progress)));
    let mut sender = connected(instance, first.take(), shared).await?;
    match send(&mut sender, request, silence, progress).await {
        // It closed the connection before it saw the request: once more, on a new one.
        Err((Broken::Http(_), Some(again))) if !progress.touched() => {
            let mut sender = connected(instance, None, shared).await?;
            send(&mut sender, again, silence, progress)
                .await
                .map_err(|(broken, _)| broken)
        }
        answered => answered.map_err(|(broken, _)| broken),
    }
}

async fn connected(
    instance: &Arc<dyn Instance>,
    first: Option<TcpStream>,
    shared: &Shared,
) -> Result<SendRequest<Upload>, Broken> {
    let mut link = shared.0.lock().await;
    if let Some(open) = link.as_ref()
        && !open.sender.is_closed()
    {
        return Ok(open.sender.clone());
    }
    let stream = match first {
        Some(stream) => stream,
        None => instance.connect().await.map_err(Broken::Connect)?,
    };
    stream.set_nodelay(true).map_err(Broken::Connect)?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Broken::Http)?;
    let mover = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // Each request on it hears of it, too.
            tracing::debug!(%error, "an HTTP/2 connection to an instance broke");
        }
    });
    *link = Some(Link {
        sender: sender.clone(),
        _mover: AbortOnDropHandle::new(mover),
    });
    Ok(sender)
}

type Unsent = Option<Request<Upload>>;

async fn send(
    sender: &mut SendRequest<Upload>,
    request: Request<Upload>,
    silence: &mut Silence,
    progress: &Progress,
) -> Result<Response<Incoming>, (Broken, Unsent)> {
    let mut sending = pin!(sender.try_send_request(request));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = sending.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        silence.poll(Some(progress.last()), cx).map(|()| None)
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
