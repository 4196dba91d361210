//! Answers that are lines of JSON and never end: each line is looked at before it goes on.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::{Frame, Incoming};

use crate::answer::{Answer, BodyError};

/// No line is longer.
const LONGEST: usize = 1 << 20;

/// Passes a body on; `shown` says what becomes of a line, `None` leaves it out.
pub(super) fn passed(body: Incoming, shown: impl Fn(&[u8]) -> Option<String> + Send + 'static) -> Answer {
    let begin = (BodyStream::new(body), BytesMut::new(), shown, false);
    let lines = stream::unfold(begin, |(mut frames, mut rest, shown, ended)| async move {
        if ended {
            return None;
        }
        let frame = frames.next().await;
        let mut out = Vec::new();
        let mut write = |line: &[u8]| {
            if let Some(line) = shown(line) {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        };
        let ended = match frame {
            Some(Ok(frame)) => {
                rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    write(&rest.split_to(end + 1));
                }
                rest.len() > LONGEST
            }
            Some(Err(error)) => return Some((Err(error.into()), (frames, rest, shown, true))),
            None => {
                if !rest.is_empty() {
                    write(&rest.split());
                }
                true
            }
        };
        let sent: Result<Frame<Bytes>, BodyError> = Ok(Frame::data(Bytes::from(out)));
        Some((sent, (frames, rest, shown, ended)))
    });
    let mut answer = Answer::new(StreamBody::new(lines).boxed_unsync());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
