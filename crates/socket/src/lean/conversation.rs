//! `POST /containers/ID/attach`: what a child says and is told, while it runs.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use skep_grant::Refusal;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::calls::conflict;
use super::child::{Doing, LeanChild, Status};
use super::keys::Keys;
use super::{Lean, attach, logs};
use crate::answer::Answer;
use crate::calls::{Context, Place};
use crate::shared::Shared;

/// `POST /containers/ID/attach`.
pub(super) async fn attached(
    context: &Context,
    lean: &Arc<Lean>,
    child: &Arc<LeanChild>,
    (headers, upgrade): (&http::HeaderMap, hyper::upgrade::OnUpgrade),
) -> Result<Answer, Refusal> {
    let flag = |name: &str| context.query.flag(name);
    if child.doing().status == Status::Paused {
        return Err(conflict(format!(
            "Container {} is paused, unpause the container before attach.",
            child.id
        )));
    }
    let terminal = child.has_terminal();
    let keys = Keys::parse(context.query.get("detachKeys").unwrap_or_default())?;
    let keys = Some(keys).filter(|_| terminal);
    let wanted = [flag("stdout"), flag("stderr")];
    let (follower, outputs) = mpsc::channel(attach::WAITING);
    let past = if flag("logs") {
        let past = logs::stream(child, logs::Wanted::past(wanted, terminal)).await?;
        Some(past.filter_map(|frame| std::future::ready(frame.ok().and_then(|frame| frame.into_data().ok()))))
    } else {
        None
    };
    if flag("stream") {
        // Who follows one that does not run is told of its next run: so `docker start -a` asks first and starts then.
        {
            let mut followers = child.followers();
            followers.retain(|other| !other.is_closed());
            followers.push(follower);
        }
        if child.doing().status == Status::Removed {
            child.followers().clear();
        }
    } else {
        drop(follower);
    }
    lean.events.say(&context.shared, child, "attach", &[]);
    let live = attach::framed(outputs, wanted, terminal);
    let output: std::pin::Pin<Box<dyn futures::Stream<Item = Bytes> + Send>> = match past {
        Some(past) => Box::pin(past.chain(live)),
        None => Box::pin(live),
    };
    let takes = flag("stdin") && flag("stream") && child.flag("/Config/OpenStdin");
    let input = takes.then(|| {
        let (shared, lean, child) = (context.shared.clone(), lean.clone(), child.clone());
        attach::Input {
            to: input(&shared, &child, context.place.clone()),
            keys,
            left: Box::new(move || lean.events.say(&shared, &child, "detach", &[])),
        }
    });
    Ok(attach::answer(
        context,
        (headers, Some(upgrade)),
        terminal,
        output,
        input,
    ))
}

/// Takes what is sent to a child's standard input, from before it runs on.
fn input(shared: &Arc<Shared>, child: &Arc<LeanChild>, place: Place) -> mpsc::Sender<Option<Bytes>> {
    let (sender, mut inbox) = mpsc::channel::<Option<Bytes>>(attach::UNREAD);
    let child = child.clone();
    let stop = shared.stop.clone();
    shared.tasks.spawn(async move {
        let writing = async {
            let mut watch = child.watch();
            // What is sent before the start waits for it.
            let (started, runs) = {
                let doing = watch.borrow();
                (doing.started, doing.status.runs())
            };
            let begun = |doing: &Doing| doing.started != started || doing.status == Status::Removed;
            if !runs {
                drop(watch.wait_for(begun).await);
            }
            while let Some(Some(bytes)) = inbox.recv().await {
                let mut input = child.input.lock().await;
                let Some(to) = input.as_mut() else { return };
                let ends = watch.borrow().ends;
                // Somebody may have been handed the other end, and neither read nor close it.
                let over = watch.wait_for(|doing| doing.ends > ends || doing.status == Status::Removed);
                tokio::select! {
                    written = to.write_all(&bytes) => if written.is_err() { return },
                    _ = over => return,
                }
            }
            if child.flag("/Config/StdinOnce") && !child.has_terminal() {
                child.input.lock().await.take();
            }
        };
        tokio::select! {
            () = writing => {}
            () = stop.cancelled() => {}
        }
        // What waits to be read takes room, also when who sent it has gone.
        drop(place);
    });
    sender
}
