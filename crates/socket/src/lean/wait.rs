//! `POST /containers/ID/wait`: the head at once, the code when it is known.

use std::sync::Arc;

use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use skep_grant::Refusal;

use super::child::{LeanChild, Status};
use crate::answer::{Answer, BodyError};

/// Answers when what was asked for has come about.
pub(super) fn wait(child: &Arc<LeanChild>, condition: &str) -> Result<Answer, Refusal> {
    let mut watch = child.watch();
    let ends = watch.borrow().ends;
    let wanted: fn(Status, bool) -> bool = match condition {
        // What was never started is not running.
        "" | "not-running" => |status, _| !status.runs(),
        "next-exit" => |status, again| again || status == Status::Removed,
        "removed" => |status, _| status == Status::Removed,
        other => return Err(Refusal::malformed(format!("invalid condition: {other:?}"))),
    };
    let code = async move {
        let ended = watch
            .wait_for(|doing| wanted(doing.status, doing.ends > ends))
            .await;
        let code = ended.map_or(137, |doing| doing.code);
        let text = json!({ "Error": null, "StatusCode": code }).to_string() + "\n";
        Ok::<_, BodyError>(Frame::data(text.into()))
    };
    let mut answer = Answer::new(StreamBody::new(stream::once(code)).boxed_unsync());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    Ok(answer)
}
