//! `GET /containers/ID/logs`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use skep_grant::{Query, Refusal};

use super::child::LeanChild;
use super::events::nanoseconds;
use super::log::{Line, Written};
use super::run::broke_off;
use crate::answer::{Answer, BodyError};

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    streams: [bool; 2],
    since: i64,
    until: i64,
    times: bool,
    details: bool,
    tail: Option<usize>,
    follow: bool,
    terminal: bool,
}

impl Wanted {
    pub(super) fn read(query: &Query, child: &LeanChild) -> Result<Self, Refusal> {
        let streams = [query.flag("stdout"), query.flag("stderr")];
        if streams == [false, false] {
            return Err(Refusal::malformed(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let time = |name: &str| {
            query
                .get(name)
                .filter(|text| !text.is_empty() && *text != "0")
                .and_then(nanoseconds)
        };
        Ok(Self {
            streams,
            since: time("since").unwrap_or(i64::MIN),
            until: time("until").unwrap_or(i64::MAX),
            times: query.flag("timestamps"),
            details: query.flag("details"),
            tail: query.get("tail").and_then(|text| text.parse().ok()),
            follow: query.flag("follow"),
            terminal: child.has_terminal(),
        })
    }

    /// All that is there of these streams.
    pub(super) fn past(streams: [bool; 2], terminal: bool) -> Self {
        Self {
            streams,
            since: i64::MIN,
            until: i64::MAX,
            times: false,
            details: false,
            tail: None,
            follow: false,
            terminal,
        }
    }

    fn has(&self, line: &Line) -> bool {
        let stream = if line.stream == 2 {
            self.streams[1]
        } else {
            self.streams[0]
        };
        stream && (self.since..=self.until).contains(&line.nanoseconds)
    }

    fn write(&self, line: &Line, out: &mut BytesMut) {
        let time = if self.times {
            Timestamp::from_nanosecond(line.nanoseconds.into()).unwrap_or_default()
        } else {
            Timestamp::default()
        };
        let mut before = if self.times {
            format!("{time:.9} ")
        } else {
            String::new()
        };
        if self.details {
            // Attributes of the log's, of which there are none, and what parts them from the line.
            before.push(' ');
        }
        if !self.terminal {
            head(line.stream, before.len() + line.text.len(), out);
        }
        out.put_slice(before.as_bytes());
        out.put_slice(&line.text);
    }
}

/// What stands before a piece of output where two streams are sent as one.
pub(super) fn head(stream: u8, length: usize, out: &mut BytesMut) {
    out.put_slice(&[stream, 0, 0, 0]);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// Where a reader stands.
struct Reader {
    child: Arc<LeanChild>,
    wanted: Wanted,
    place: (u64, u64),
    /// Lines from there on that were not asked for.
    skip: usize,
    /// What there was when the reading began.
    begun: Written,
    written: tokio::sync::watch::Receiver<Written>,
    /// How often the child had ended when the reading began.
    ends: u64,
    over: bool,
}

async fn some(
    child: &Arc<LeanChild>,
    place: (u64, u64),
    written: Written,
) -> Result<(Vec<Line>, (u64, u64)), BodyError> {
    if place == (written.file, written.length) {
        return Ok((Vec::new(), place));
    }
    let child = child.clone();
    let read = move || {
        let mut place = place;
        child.log.read(&mut place, written).map(|lines| (lines, place))
    };
    Ok(tokio::task::spawn_blocking(read).await??)
}

/// Streams a log.
pub(super) async fn logs(
    child: &Arc<LeanChild>,
    wanted: Wanted,
    kind: &'static str,
) -> Result<Answer, Refusal> {
    let mut answer = Answer::new(StreamBody::new(stream(child, wanted).await?).boxed_unsync());
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(answer)
}

/// The pieces of a log.
pub(super) async fn stream(
    child: &Arc<LeanChild>,
    wanted: Wanted,
) -> Result<impl futures::Stream<Item = Result<Frame<Bytes>, BodyError>> + use<>, Refusal> {
    let written = child.log.watch();
    // The log has its end before the child is said to have ended: what is compared with it must be from one moment.
    let doing = child.doing();
    let follow = wanted.follow && doing.status.runs();
    let ends = doing.ends;
    let begun = *written.borrow();
    let (mut place, mut skip) = ((0, 0), 0);
    if let Some(tail) = wanted.tail {
        // Where the last so many lines begin, without keeping them: each reader may ask for all that there are.
        let (mut pieces, mut covered) = (VecDeque::new(), 0);
        while place != (begun.file, begun.length) {
            let (lines, next) = some(child, place, begun).await.map_err(|_| broke_off())?;
            let count = lines.iter().filter(|line| wanted.has(line)).count();
            pieces.push_back((place, count));
            covered += count;
            while let Some((_, first)) = pieces.front()
                && covered - first >= tail
            {
                covered -= first;
                pieces.pop_front();
            }
            if next == place {
                break;
            }
            place = next;
        }
        place = pieces.front().map_or(place, |(first, _)| *first);
        skip = covered.saturating_sub(tail);
    }
    let reader = Reader {
        child: child.clone(),
        place,
        skip,
        written,
        begun,
        ends,
        over: false,
        wanted: Wanted { follow, ..wanted },
    };
    let rest = stream::unfold(reader, |mut reader| async move {
        loop {
            if reader.over {
                return None;
            }
            let now = *reader.written.borrow_and_update();
            // Who doesn't follow gets what there was, however fast the child goes on writing.
            let until = if reader.wanted.follow { now } else { reader.begun };
            match some(&reader.child, reader.place, until).await {
                Ok((lines, place)) => {
                    reader.place = place;
                    let mut out = BytesMut::new();
                    for line in lines.iter().filter(|line| reader.wanted.has(line)) {
                        match reader.skip.checked_sub(1) {
                            Some(left) => reader.skip = left,
                            None => reader.wanted.write(line, &mut out),
                        }
                    }
                    if !out.is_empty() {
                        return Some((Ok(Frame::data(out.freeze())), reader));
                    }
                    if !lines.is_empty() {
                        continue;
                    }
                }
                Err(error) => {
                    reader.over = true;
                    return Some((Err(error), reader));
                }
            }
            let ended = until.ends != reader.ends;
            if !reader.wanted.follow || ended || reader.written.changed().await.is_err() {
                return None;
            }
        }
    });
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn who_follows_while_a_child_is_just_ending_is_told_of_the_end() {
        let folder = std::env::temp_dir().join(format!("skep-logs-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder).unwrap();
        let facts = json!({
            "inspect": { "Id": "a", "Created": "2026-01-01T00:00:00Z" }, "name": "a", "labels": {},
            "request": { "body": {}, "function": "f", "disk": 0, "parent": null },
        });
        let child = LeanChild::read(folder.clone(), &facts, &json!({ "status": "running" }));
        let child = Arc::new(child.unwrap());
        child.log.add(1, 1, &[b"said\n".to_vec()]).unwrap();
        // Its output is over, and it is not said yet that it has ended.
        child.log.end();
        let wanted = Wanted {
            follow: true,
            ..Wanted::past([true, true], true)
        };
        let frames = stream(&child, wanted).await.unwrap().collect::<Vec<_>>();
        let frames = tokio::time::timeout(Duration::from_secs(20), frames).await;
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(frames.expect("the stream ends").len(), 1);
    }
}
