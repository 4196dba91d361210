//! The events of all nodes that hold children of a function, as one stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use skep_grant::Query;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::afar::Sent;
use super::{Context, lines};
use crate::answer::{Answer, BodyError};

/// How often it is looked whether another node holds children now.
const LOOK: Duration = Duration::from_secs(1);
/// How many pieces wait for a slow reader.
const WAITING: usize = 16;

/// This node's events, and those of the others.
pub(super) fn events(context: Arc<Context>, asked: Query, own: Answer) -> Answer {
    if context.elsewhere().is_none() {
        return own;
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let (tasks, closed) = (context.shared.tasks.clone(), context.closed.clone());
    tasks.spawn(async move {
        let until = asked.get("until").and_then(crate::lean::nanoseconds);
        tokio::select! {
            () = closed.cancelled() => {}
            () = sender.closed() => {}
            () = follow(&context, asked, until, &sender) => {}
        }
    });
    let (parts, body) = own.into_parts();
    let theirs = futures::stream::unfold(receiver, |mut receiver| async move {
        let bytes: Bytes = receiver.recv().await?;
        Some((Ok::<_, BodyError>(Frame::data(bytes)), receiver))
    });
    let both = futures::stream::select(BodyStream::new(body), theirs);
    Answer::from_parts(parts, StreamBody::new(both).boxed_unsync())
}

/// Follows every node that holds children, or comes to, until all that was asked for is told.
async fn follow(context: &Arc<Context>, mut asked: Query, until: Option<i64>, to: &mpsc::Sender<Bytes>) {
    if asked.get("since").is_none_or(str::is_empty) {
        asked.set("since", seconds(Timestamp::now()));
    }
    let mut followed: JoinSet<String> = JoinSet::new();
    let mut since: HashMap<String, Option<String>> = HashMap::new();
    loop {
        if let Some(elsewhere) = context.elsewhere() {
            for node in elsewhere.holders(&context.holder.function).await {
                let mut query = asked.clone();
                match since.insert(node.clone(), None) {
                    // It is followed.
                    Some(None) => continue,
                    Some(Some(lost)) => query.set("since", lost),
                    None => {}
                }
                followed.spawn(told(Arc::clone(context), node, query, to.clone()));
            }
        }
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        if until.is_some_and(|until| until <= now) {
            while followed.join_next().await.is_some() {}
            return;
        }
        tokio::select! {
            Some(Ok(node)) = followed.join_next() => {
                // What it says from now on is asked for when it answers again.
                since.insert(node, Some(seconds(Timestamp::now())));
                tokio::time::sleep(LOOK).await;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn seconds(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

/// Passes one node's events on, and gives it back when they have ended.
async fn told(context: Arc<Context>, node: String, query: Query, to: mpsc::Sender<Bytes>) -> String {
    let sent = Sent::get(format!("/events{}", query.written()));
    if let Ok(response) = context.ask_there(&node, sent).await
        && response.status().is_success()
    {
        let whole = |line: &[u8]| String::from_utf8(line.trim_ascii_end().to_vec()).ok();
        let mut frames = BodyStream::new(lines::passed(response.into_body(), whole).into_body());
        while let Some(Ok(frame)) = frames.next().await {
            let Ok(data) = frame.into_data() else { continue };
            if !data.is_empty() && to.send(data).await.is_err() {
                break;
            }
        }
    }
    node
}
