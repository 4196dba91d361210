//! What is made of a child between its creation and its start: most are started a moment later.

use std::sync::Arc;
use std::time::Duration;

use skep_lean::{ChildAhead, PreparedChild, Shape};
use tokio::sync::oneshot;

use super::child::LeanChild;
use super::lock;
use crate::shared::Shared;

/// How long one that was prepared waits for its start.
const WAIT: Duration = Duration::from_secs(5);

/// Asks for what is prepared of a child. Dropped, nobody wants it.
#[derive(Debug)]
pub(super) struct Coming(oneshot::Sender<oneshot::Sender<PreparedChild>>);

/// Begins to make a child that has just been created, in the background.
pub(super) fn begin(shared: &Arc<Shared>, child: &LeanChild, shape: &Arc<Shape>) {
    // Those make what is their own with their start.
    if child.has_terminal() || child.socket().is_some() {
        return;
    }
    let (asks, asked) = oneshot::channel();
    *lock(&child.ahead) = Some(Coming(asks));
    let (ahead, shape, stop) = (known(child), shape.clone(), shared.stop.clone());
    shared.tasks.spawn(async move {
        let Some(prepared) = shape.prepare(ahead).await else {
            return;
        };
        tokio::select! {
            asked = asked => if let Ok(taker) = asked {
                // Whoever asked and is gone wants none.
                drop(taker.send(prepared));
            },
            () = tokio::time::sleep(WAIT) => {}
            () = stop.cancelled() => {}
        }
    });
}

/// What a child is to run, as it is known before its start.
pub(super) fn known(child: &LeanChild) -> ChildAhead {
    let mut arguments = vec![child.text("/Path").to_owned()];
    arguments.extend(child.texts("/Args"));
    ChildAhead {
        name: child.id.clone(),
        hostname: child.text("/Config/Hostname").to_owned(),
        arguments,
        environment: child.texts("/Config/Env"),
    }
}

/// What was prepared of a child; one that is just being made is waited for.
pub(super) async fn take(child: &LeanChild) -> Option<PreparedChild> {
    let Coming(asks) = lock(&child.ahead).take()?;
    let (give, given) = oneshot::channel();
    asks.send(give).ok()?;
    given.await.ok()
}

/// Ends what was prepared of a child that becomes something else first.
pub(super) async fn give_up(child: &LeanChild) {
    if let Some(prepared) = take(child).await {
        prepared.end().await;
    }
}
