//! Members of different versions, as they are side by side while an upgrade runs: a field that a newer one adds is passed
//! over, and what the first version wrote is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use skep_wire::{
    Agreed, Caller, Claim, Context, Field as _, NodePicture, NotStarted, Outcome, Visit, Waiting,
};

fn header(value: &Value) -> HeaderValue {
    HeaderValue::try_from(STANDARD_NO_PAD.encode(value.to_string())).unwrap()
}

fn body<T: DeserializeOwned>(value: &Value) -> bool {
    serde_json::from_value::<T>(value.clone()).is_ok()
}

type Reads = fn(&Value) -> bool;

/// Each message as the first version wrote it, and what reads it.
fn messages() -> [(&'static str, Value, Reads); 8] {
    let usage = json!({ "children": 1, "memory": 2, "nano_cpus": 3 });
    [
        (
            "context",
            json!({
                "parent": null, "trigger": "request", "received": "2026-01-02T03:04:05Z", "attempts": 1,
                "client": "192.0.2.1",
            }),
            |value| Context::read(&header(value)).is_ok(),
        ),
        (
            "caller",
            json!({ "parent": null, "address": "192.0.2.1", "port": 80 }),
            |value| Caller::read(&header(value)).is_ok(),
        ),
        (
            "visit",
            json!({
                "node": "n", "function": "f",
                "visitor": {
                    "id": "i", "is_child": false, "above": [], "root": "r", "invocation": null, "generation": 1,
                    "grant": skep_model::Spawn::default(),
                },
            }),
            |value| Visit::read(&header(value)).is_ok(),
        ),
        (
            "outcome",
            json!({
                "ending": { "kind": "completed" }, "revision": null, "instance": null, "started": null,
                "phases": {},
            }),
            |value| Outcome::read(&header(value)).is_ok(),
        ),
        (
            "claim",
            json!({ "node": "n", "sequence": 1, "function": "f", "usage": usage, "limits": null }),
            body::<Claim>,
        ),
        ("agreed", json!({ "node": null, "others": [] }), body::<Agreed>),
        (
            "waiting",
            json!({ "gateway": "g", "namespace": "default", "functions": { "f": 1 } }),
            body::<Waiting>,
        ),
        (
            "picture",
            json!({
                "node": "n", "hostname": "h", "engine": "lean", "fallback": [],
                "sandboxes": [{
                    "id": "i", "task": "t", "service": "s", "function": "f", "namespace": "default",
                    "revision": "r", "slots": 1, "running": 0, "idle": 0, "draining": false,
                }],
            }),
            body::<NodePicture>,
        ),
    ]
}

#[test]
fn what_the_first_version_wrote_is_read() {
    for (what, message, reads) in messages() {
        assert!(reads(&message), "{what}: {message}");
    }
}

#[test]
fn a_field_that_a_newer_version_adds_is_passed_over() {
    for (what, mut message, reads) in messages() {
        for place in ["", "/visitor", "/visitor/grant", "/sandboxes/0", "/usage"] {
            if let Some(Value::Object(fields)) = message.pointer_mut(place) {
                fields.insert(
                    "from-a-newer-version".to_owned(),
                    json!({ "of": ["any", "shape"] }),
                );
            }
        }
        assert!(reads(&message), "{what}: {message}");
    }
}

#[test]
fn a_reason_that_a_newer_version_gives_is_none_that_is_known() {
    assert!("from-a-newer-version".parse::<NotStarted>().is_err());
}
