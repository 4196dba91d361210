//! What real clients send goes through; what an attacker sends does not; and what goes on has no field that nobody
//! listed, whatever came in.

mod attacks;
mod clients;
mod paths;
mod properties;
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use skep_grant::{Create, Json, Refusal, Settled};
use skep_model::Spawn;

/// A grant without networks, volumes or ports.
fn spawn() -> Spawn {
    Spawn {
        may_start: vec!["debian:bookworm-slim".to_owned()],
        ..Spawn::default()
    }
}

/// Parses a create body and writes it as the daemon would get it.
fn through(body: &str, spawn: &Spawn) -> Result<Value, Refusal> {
    let create = Create::parse(Json::parse(body.as_bytes())?, spawn)?;
    let settled = Settled {
        image: "debian:bookworm-slim".to_owned(),
        network: "none".to_owned(),
        ..Settled::default()
    };
    let body = create.body(&settled);
    // Written for another node, and read there, it says the same.
    let written = create.written().to_string();
    let again = Create::parse(Json::parse(written.as_bytes())?, spawn)?;
    assert_eq!(again.body(&settled), body, "{written}");
    assert_eq!((&again.network, &again.image), (&create.network, &create.image));
    assert_eq!(again.host.mounts.socket, create.host.mounts.socket);
    Ok(body)
}

/// Why a create body is refused.
fn refused(body: &str) -> Refusal {
    through(body, &spawn()).expect_err(body)
}
