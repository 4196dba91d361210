//! A connection as a process's streams: handed over where the client asks for that, else an answer that goes on.

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::keys::Keys;
use super::logs::head;
use crate::answer::{Answer, BodyError, nothing};
use crate::calls::Context;
use crate::handover;

/// How many pieces of output wait for one who follows.
pub(super) const WAITING: usize = 16;
/// How many pieces of a client's wait for a process that does not read them: the client can keep the rest itself.
pub(super) const UNREAD: usize = 2;

/// The kind of the stream, as the API's version names it.
pub(super) fn kind(context: &Context, terminal: bool) -> &'static str {
    if !terminal && context.version >= (1, 42) {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    }
}

/// Output as it is sent.
pub(super) fn framed(
    outputs: mpsc::Receiver<(u8, Bytes)>,
    streams: [bool; 2],
    terminal: bool,
) -> impl Stream<Item = Bytes> + Send {
    let outputs = futures::stream::unfold(outputs, |mut outputs| async move {
        outputs.recv().await.map(|output| (output, outputs))
    });
    outputs.filter_map(move |(stream, bytes)| {
        let wanted = streams[usize::from(stream == 2)];
        let framed = wanted.then(|| {
            if terminal {
                return bytes;
            }
            let mut out = BytesMut::with_capacity(bytes.len() + 8);
            head(stream, bytes.len(), &mut out);
            out.put_slice(&bytes);
            out.freeze()
        });
        std::future::ready(framed)
    })
}

/// Where goes what a client sends.
pub(super) struct Input {
    /// `None` is sent when the client sends no more.
    pub(super) to: mpsc::Sender<Option<Bytes>>,
    /// On a terminal, what ends the conversation and not the process.
    pub(super) keys: Option<Keys>,
    /// Done when they were typed.
    pub(super) left: Box<dyn FnOnce() + Send>,
}

impl Input {
    /// Hands on what came from the client; whether somebody still takes it, or `None` where the client leaves.
    async fn take(&mut self, bytes: &Bytes) -> Option<bool> {
        let (passed, leaves) = match &mut self.keys {
            Some(keys) => keys.pass(bytes),
            None => (bytes.clone(), false),
        };
        let taken = passed.is_empty() || self.to.send(Some(passed)).await.is_ok();
        (!leaves).then_some(taken)
    }
}

/// Answers with the streams. What the client sends goes to `input`.
pub(super) fn answer(
    context: &Context,
    (headers, upgrade): (&HeaderMap, Option<OnUpgrade>),
    terminal: bool,
    output: impl Stream<Item = Bytes> + Send + 'static,
    input: Option<Input>,
) -> Answer {
    let kind = HeaderValue::from_static(kind(context, terminal));
    let upgrade = upgrade.filter(|_| crate::calls::wants_upgrade(headers));
    let Some(upgrade) = upgrade else {
        let frames = output.map(|bytes| Ok::<_, BodyError>(Frame::data(bytes)));
        let mut answer = Answer::new(StreamBody::new(frames).boxed_unsync());
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        return answer;
    };
    let (closed, place) = (context.closed.clone(), context.place.clone());
    context.shared.tasks.spawn(async move {
        let talking = async move {
            let Ok(connection) = upgrade.await else { return };
            let Ok((connection, early, hang_up)) = handover::taken(connection).await else {
                return;
            };
            let (mut from, mut to) = tokio::io::split(connection);
            let writing = async move {
                let mut output = std::pin::pin!(output);
                while let Some(bytes) = output.next().await {
                    if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                        return;
                    }
                }
                drop(to.shutdown().await);
            };
            let reading = async move {
                let mut buffer = vec![0; 32 << 10];
                let mut piece = early;
                if let Some(mut input) = input {
                    let left = loop {
                        match input.take(&piece).await {
                            Some(true) => {}
                            Some(false) => break false,
                            None => break true,
                        }
                        match from.read(&mut buffer).await {
                            Ok(length @ 1..) => piece = Bytes::copy_from_slice(&buffer[..length]),
                            _ => break false,
                        }
                    };
                    if left {
                        return (input.left)();
                    }
                    drop(input.to.send(None).await);
                }
                // Nobody asks for the rest, which is read so that its end is seen.
                while let Ok(1..) = from.read(&mut buffer).await {}
                // Its output goes on, and the end of that is the end; unless there is nobody any more who reads it.
                hang_up.wait().await;
            };
            tokio::select! {
                () = writing => {}
                () = reading => {}
            }
        };
        tokio::select! {
            () = closed.cancelled() => {}
            () = talking => {}
        }
        drop(place);
    });
    let mut answer = nothing(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(CONTENT_TYPE, kind);
    answer
}
