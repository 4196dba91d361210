//! How an invocation stands in the streams: what is to be run as one message, what is known of it as another, whose
//! header can be read without its body.

use async_nats::HeaderMap as Fields;
use async_nats::jetstream::message::PublishMessage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use skep_model::Record;
use skep_store::{Body, NewInvocation, Request, StoredResponse, headers};

/// The field with a [`Kept`].
pub(crate) const RECORD: &str = "Skep-Record";
/// The field that says since when a function is gone; `-` where it is there.
pub(crate) const ABSENT: &str = "Skep-Absent";

/// A body that is an object in an object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Large {
    pub(crate) name: String,
    pub(crate) length: u64,
}

impl Large {
    pub(crate) fn of(body: &Body) -> Option<Self> {
        let name = body.name_elsewhere()?.to_owned();
        let length = body.length();
        Some(Self { name, length })
    }
}

/// The head of what is to be run: a line of JSON, before the header fields and the body.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) record: Record,
    /// The hash of the key.
    pub(crate) key: String,
    method: String,
    path: String,
    context: String,
    /// How many bytes the header fields have.
    fields: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Large>,
}

impl Work {
    pub(crate) fn write(new: &NewInvocation) -> Bytes {
        let request = &new.request;
        let fields = headers::encode(&request.headers);
        let head = Self {
            record: new.record.clone(),
            key: STANDARD_NO_PAD.encode(new.key.as_bytes()),
            method: request.method.to_string(),
            path: request.path.clone(),
            context: request.context.clone(),
            fields: fields.len(),
            body: Large::of(&request.body),
        };
        framed(
            &head,
            &[&fields, request.body.memory().map_or(&[][..], |bytes| bytes)],
        )
    }

    /// Reads it back; `large` makes a body of an object's name and length.
    pub(crate) fn read(payload: &Bytes, large: impl FnOnce(&Large) -> Body) -> Option<(Self, Request)> {
        let end = payload.iter().position(|byte| *byte == b'\n')?;
        let head: Self = serde_json::from_slice(&payload[..end]).ok()?;
        let rest = payload.slice(end + 1..);
        let fields = rest.get(..head.fields)?;
        let request = Request {
            method: Method::from_bytes(head.method.as_bytes()).ok()?,
            path: head.path.clone(),
            headers: headers::decode(fields),
            body: match &head.body {
                Some(object) => large(object),
                None => Body::from(rest.slice(head.fields..)),
            },
            context: head.context.clone(),
        };
        Some((head, request))
    }
}

/// What is known of an invocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    /// The hash of the key.
    pub(crate) key: String,
    /// The request's body, where it is an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_body: Option<Large>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<Response>,
}

/// The head of a stored response; its header fields and its body are the message's payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Response {
    status: u16,
    /// How many bytes the header fields have.
    fields: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Large>,
}

impl Kept {
    /// What is known of it when it is accepted, or claimed.
    pub(crate) fn of(work: &Work, record: Record) -> Self {
        Self {
            record,
            key: work.key.clone(),
            request_body: work.body.clone(),
            response: None,
        }
    }

    /// As a message; the payload is the response's.
    pub(crate) fn write(&self, payload: Bytes) -> PublishMessage {
        // JSON has no line breaks of its own, which is all that a field can't hold.
        let text = serde_json::to_string(self).unwrap_or_default();
        PublishMessage::build().payload(payload).header(RECORD, text)
    }

    pub(crate) fn read(fields: &Fields) -> Option<Self> {
        serde_json::from_str(fields.get(RECORD)?.as_str()).ok()
    }

    /// The hash of the key.
    pub(crate) fn key_hash(&self) -> Vec<u8> {
        STANDARD_NO_PAD.decode(&self.key).unwrap_or_default()
    }

    /// Adds a response; gives the payload that goes with it.
    pub(crate) fn answered(&mut self, response: Option<&StoredResponse>) -> Bytes {
        let Some(response) = response else {
            return Bytes::new();
        };
        let fields = headers::encode(&response.headers);
        self.response = Some(Response {
            status: response.status.as_u16(),
            fields: fields.len(),
            body: Large::of(&response.body),
        });
        let mut payload = BytesMut::from(&fields[..]);
        payload.put_slice(response.body.memory().map_or(&[][..], |bytes| bytes));
        payload.freeze()
    }

    /// The stored response, where there is one.
    pub(crate) fn stored(
        &self,
        payload: &Bytes,
        large: impl FnOnce(&Large) -> Body,
    ) -> Option<StoredResponse> {
        let head = self.response.as_ref()?;
        Some(StoredResponse {
            status: StatusCode::from_u16(head.status).ok()?,
            headers: headers::decode(payload.get(..head.fields)?),
            body: match &head.body {
                Some(object) => large(object),
                None => Body::from(payload.slice(head.fields..)),
            },
        })
    }
}

fn framed(head: &impl Serialize, parts: &[&[u8]]) -> Bytes {
    let head = serde_json::to_vec(head).unwrap_or_default();
    let length = head.len() + 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_slice(&head);
    bytes.put_u8(b'\n');
    for part in parts {
        bytes.put_slice(part);
    }
    bytes.freeze()
}
