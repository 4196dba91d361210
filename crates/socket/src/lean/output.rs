//! What a child says while it runs: to who follows it, and into its log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::child::{Follower, LeanChild};
use super::log::Cutter;
use crate::shared::Shared;

/// How long after a child's end its output holds up who waits for the end: somebody may follow and not read, or have
/// been handed an end of its pipes.
pub(super) const LAST: Duration = Duration::from_secs(2);

/// The reading of one run's output.
pub(super) struct Output {
    readers: Vec<JoinHandle<()>>,
    /// Who follows is waited for no more.
    cut: CancellationToken,
}

impl Output {
    /// Reads from now on.
    pub(super) fn read(shared: &Shared, child: &Arc<LeanChild>, from: Vec<(u8, pipe::Receiver)>) -> Self {
        let cut = CancellationToken::new();
        let reader = |(stream, from)| {
            let late = Late {
                tasks: shared.tasks.clone(),
                cut: cut.clone(),
                pieces: Vec::new(),
            };
            shared.tasks.spawn(read(child.clone(), stream, from, late))
        };
        Self {
            readers: from.into_iter().map(reader).collect(),
            cut,
        }
    }

    /// Waits for the end of it, which is the child's end for everybody; for the slowest of those who follow not long, and
    /// for whoever has been handed an end of its pipes not much longer.
    pub(super) async fn over(mut self) {
        for _ in 0..2 {
            if tokio::time::timeout(LAST, join_all(&mut self.readers))
                .await
                .is_ok()
            {
                return;
            }
            self.readers.retain(|reader| !reader.is_finished());
            self.cut.cancel();
        }
        for reader in self.readers {
            reader.abort();
        }
    }
}

/// What is left for those who follow and do not read, when the child has ended: no more than its pipes held.
struct Late {
    tasks: TaskTracker,
    cut: CancellationToken,
    pieces: Vec<(Follower, Vec<(u8, Bytes)>)>,
}

impl Late {
    async fn send(&mut self, follower: Follower, piece: (u8, Bytes)) {
        let mut known = self.pieces.iter_mut();
        if let Some((_, pieces)) = known.find(|(known, _)| known.same_channel(&follower)) {
            return pieces.push(piece);
        }
        // Who follows and does not read holds it up, as with Docker; who has gone does not.
        let room = tokio::select! {
            biased;
            room = follower.reserve() => room.ok(),
            () = self.cut.cancelled() => return self.pieces.push((follower.clone(), vec![piece])),
        };
        if let Some(room) = room {
            room.send(piece);
        }
    }

    /// Lets them have it in their own time.
    fn leave(self) {
        for (follower, pieces) in self.pieces {
            self.tasks.spawn(async move {
                for piece in pieces {
                    if follower.send(piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}

/// Reads one stream to its end.
async fn read(child: Arc<LeanChild>, stream: u8, mut from: pipe::Receiver, mut late: Late) {
    let (mut cutter, mut buffer) = (Cutter::default(), vec![0; 64 << 10]);
    loop {
        let lines = match from.read(&mut buffer).await {
            // A terminal ends with an error.
            Ok(0) | Err(_) => break,
            Ok(length) => {
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                let followers = child.followers().clone();
                for follower in followers {
                    late.send(follower, (stream, bytes.clone())).await;
                }
                child.followers().retain(|follower| !follower.is_closed());
                cutter.push(&bytes)
            }
        };
        keep(&child, stream, lines).await;
    }
    keep(&child, stream, cutter.finish().into_iter().collect()).await;
    late.leave();
}

async fn keep(child: &Arc<LeanChild>, stream: u8, lines: Vec<Vec<u8>>) {
    if lines.is_empty() {
        return;
    }
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0);
    let child = child.clone();
    let kept = tokio::task::spawn_blocking(move || child.log.add(stream, now, &lines)).await;
    if let Ok(Err(error)) = kept {
        tracing::debug!(%error, "a child's log could not be written");
    }
}
