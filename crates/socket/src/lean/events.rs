//! What happens to children, told as Docker tells it, among what Docker tells of the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skep_grant::Filters;
use skep_model::label;
use tokio::sync::broadcast;

use super::child::LeanChild;
use super::lock;
use crate::answer::{Answer, BodyError};
use crate::shared::Shared;

/// How many are remembered, as by Docker.
const REMEMBERED: usize = 256;
/// How far one who listens may be behind.
const BEHIND: usize = 1024;

#[derive(Debug)]
pub(crate) struct Events {
    past: Mutex<VecDeque<Arc<Value>>>,
    live: broadcast::Sender<Arc<Value>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            past: Mutex::default(),
            live: broadcast::Sender::new(BEHIND),
        }
    }
}

impl Events {
    /// Tells what happened to a child.
    pub(crate) fn say(&self, shared: &Shared, child: &LeanChild, action: &str, more: &[(&str, String)]) {
        let mut attributes: Map<String, Value> = child.labels.as_object().cloned().unwrap_or_default();
        let name = lock(&child.name).clone();
        let asked = child
            .labels
            .get(crate::labels::ASKED)
            .cloned()
            .unwrap_or_default();
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), value.as_str().into())),
        );
        attributes.insert("image".to_owned(), asked.clone());
        attributes.insert("name".to_owned(), name.into());
        let now = Timestamp::now();
        let event = json!({
            "status": action, "id": child.id, "from": asked, "Type": "container", "Action": action,
            "Actor": { "ID": child.id, "Attributes": attributes }, "scope": "local",
            "time": now.as_second(), "timeNano": i64::try_from(now.as_nanosecond()).unwrap_or(0),
        });
        let event = Arc::new(event);
        let mut past = lock(&self.past);
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(event.clone());
        // In the order in which they are remembered.
        let _nobody_listens = self.live.send(event);
        drop(past);
        tracing::trace!(namespace = %shared.namespace, container = child.id, action, "told");
    }
}

/// What is asked for of the events.
pub(crate) struct Wanted {
    /// Whose children's: another function's are not there.
    pub(crate) function: String,
    pub(crate) filters: Filters,
    pub(crate) since: Option<i64>,
    pub(crate) until: Option<i64>,
}

/// A time as the API takes it, in nanoseconds since 1970.
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return i64::try_from(time.as_nanosecond()).ok();
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = format!("{fraction:0<9}");
    let seconds = seconds.parse::<i64>().ok()?;
    Some(
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(fraction.get(..9)?.parse().ok()?),
    )
}

impl Wanted {
    fn has(&self, event: &Value) -> bool {
        let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let any = |name: &str, matches: &dyn Fn(&str) -> bool| {
            let values = self.filters.values(name);
            values.is_empty() || values.iter().any(|value| matches(value))
        };
        let labels = event.pointer("/Actor/Attributes");
        let child_of = labels.and_then(|labels| labels.get(label::CHILD_OF));
        if child_of.and_then(Value::as_str) != Some(&self.function) {
            return false;
        }
        let labelled = self.filters.values("label").iter().all(|wanted| {
            let (key, value) = wanted
                .split_once('=')
                .map_or((wanted.as_str(), None), |(key, value)| (key, Some(value)));
            let own = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
            own.is_some_and(|own| value.is_none_or(|value| own == value))
        });
        let action = text("/Action");
        let plain = action.split(':').next().unwrap_or_default();
        any("event", &|value| value == action || value == plain) && labelled
    }
}

/// Adds the events of this kind of children to Docker's. `shown` says what becomes of one, as of Docker's.
pub(crate) fn merged(
    shared: &Arc<Shared>,
    docker: Answer,
    wanted: Wanted,
    shown: impl Fn(&[u8]) -> Option<String> + Send + 'static,
) -> Answer {
    let Some(lean) = shared.lean() else {
        return docker;
    };
    // Listened to before the past is read: nothing falls between.
    let (live, past) = {
        let past = lock(&lean.events.past);
        (
            lean.events.live.subscribe(),
            past.iter().cloned().collect::<Vec<_>>(),
        )
    };
    let time = |event: &Value| event.get("timeNano").and_then(Value::as_i64).unwrap_or(0);
    let past: Vec<Arc<Value>> = past
        .into_iter()
        .filter(|event| wanted.since.is_some_and(|since| time(event) >= since))
        .filter(|event| wanted.until.is_none_or(|until| time(event) <= until))
        .collect();
    let over = is_past(wanted.until);
    let line = move |event: &Value| {
        let text = shown(event.to_string().as_bytes())?;
        wanted.has(event).then(|| format!("{text}\n"))
    };
    let (parts, body) = docker.into_parts();
    let past: String = past.iter().filter_map(|event| line(event)).collect();
    let body = if over {
        // All of it lies in the past: it is put into its order.
        let ordered = async move {
            let theirs = body.collect().await.map(http_body_util::Collected::to_bytes)?;
            let mut lines: Vec<String> = String::from_utf8_lossy(&theirs)
                .lines()
                .map(str::to_owned)
                .collect();
            lines.extend(past.lines().map(str::to_owned));
            let time = |line: &String| {
                serde_json::from_str::<Value>(line)
                    .ok()?
                    .get("timeNano")?
                    .as_i64()
            };
            lines.sort_by_key(time);
            let text: String = lines.into_iter().map(|line| line + "\n").collect();
            Ok::<_, BodyError>(Frame::data(text.into()))
        };
        StreamBody::new(stream::once(ordered)).boxed_unsync()
    } else {
        let theirs = BodyStream::new(body)
            .map(Some)
            .chain(stream::once(async { None }));
        let ours = stream::unfold(live, |mut live| async move {
            loop {
                match live.recv().await {
                    Ok(event) => return Some((event, live)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let ours = ours.filter_map(move |event| std::future::ready(line(&event)));
        let first = Some(past).filter(|past| !past.is_empty());
        let ours = stream::iter(first)
            .chain(ours)
            .map(|text| Some(Ok(Frame::data(text.into()))));
        // Docker's end is the end of both.
        let both = stream::select(theirs, ours.boxed());
        let both = both.take_while(|frame| std::future::ready(frame.is_some()));
        StreamBody::new(both.filter_map(std::future::ready)).boxed_unsync()
    };
    Answer::from_parts(parts, body)
}

/// Whether nothing that comes is asked for.
fn is_past(until: Option<i64>) -> bool {
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    until.is_some_and(|until| until <= now)
}
