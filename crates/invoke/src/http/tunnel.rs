//! A connection after `101 Switching Protocols` (WebSocket and others): bytes both ways, each until its sender ends.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use skep_dispatch::Fate;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::http1::Wire;
use crate::body::{Body, empty};
use crate::headers::remove_hop_by_hop;
use crate::run::{Failure, Run};
use crate::silence::Silence;
use crate::upload::Progress;

const WINDOW: usize = 16 * 1024;
/// How long a caller may be silent after the instance has said everything: most instances have ended altogether then,
/// which can't be seen from here.
const LINGER: Duration = Duration::from_secs(2);

/// Passes the switch on and joins both sides. The lease is held until both have ended.
pub(super) async fn begin(
    mut run: Run,
    response: Response<Incoming>,
    wire: Wire,
    client: OnUpgrade,
    silence: Silence,
    tasks: &TaskTracker,
) -> Response<Body> {
    let (instance, early) = wire.into_socket().await;
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let protocol = response.headers().get(UPGRADE).cloned();
    *answer.headers_mut() = response.into_parts().0.headers;
    let headers = answer.headers_mut();
    remove_hop_by_hop(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
    run.head(&mut answer);
    run.announce();
    tasks.spawn(async move {
        // A caller who is gone before the switch reached it: the run is dropped, and says so.
        let Ok(client) = client.await else { return };
        join(run, TokioIo::new(client), instance, early, silence).await;
    });
    answer
}

async fn join(
    run: Run,
    client: impl AsyncRead + AsyncWrite,
    instance: TcpStream,
    early: Bytes,
    mut silence: Silence,
) {
    let activity = Progress::new();
    silence.touch();
    let patience = LINGER.min(run.timeout() / 2);
    let (client_out, mut client_in) = tokio::io::split(client);
    let (instance_out, instance_in) = instance.into_split();
    let down = async {
        client_in.write_all(&early).await?;
        pump(instance_out, client_in, &activity).await
    };
    let up = pump(client_out, instance_in, &activity);
    let quiet = poll_fn(|cx| silence.poll(Some(activity.last()), cx));
    let ended = tokio::select! {
        ended = both(down, up, &activity, patience) => ended,
        () = quiet => {
            let failure = Failure::timeout();
            return run.cut(failure, StatusCode::SWITCHING_PROTOCOLS);
        }
    };
    if let Err(error) = ended {
        // A reset is how many clients end a WebSocket.
        tracing::debug!(%error, invocation = %run.id(), "an upgraded connection broke");
    }
    run.complete(StatusCode::SWITCHING_PROTOCOLS, None, Fate::Reusable);
}

/// Moves both directions to their ends. Whoever has said everything may still be told something.
async fn both(
    down: impl Future<Output = std::io::Result<()>>,
    up: impl Future<Output = std::io::Result<()>>,
    activity: &Progress,
    patience: Duration,
) -> std::io::Result<()> {
    let (mut down, mut up) = (pin!(down), pin!(up));
    tokio::select! {
        ended = &mut up => {
            ended?;
            down.await
        }
        ended = &mut down => {
            ended?;
            activity.note();
            tokio::select! {
                ended = up => ended,
                () = unheard(activity, patience) => Ok(()),
            }
        }
    }
}

/// Ends when the caller has been silent for a while.
async fn unheard(activity: &Progress, patience: Duration) {
    loop {
        let until = activity.last() + patience;
        if Instant::now() >= until {
            return;
        }
        sleep_until(until).await;
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    activity: &Progress,
) -> std::io::Result<()> {
    let mut buffer = BytesMut::with_capacity(WINDOW);
    while from.read_buf(&mut buffer).await? > 0 {
        activity.note();
        to.write_all(&buffer).await?;
        to.flush().await?;
        buffer.clear();
        activity.note();
    }
    to.shutdown().await
}
