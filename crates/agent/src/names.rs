//! What is deployed, of which this node has no sandbox: a gateway is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Limited};
use skep_tls::Line;
use skep_wire::{GATEWAY_NAME, NAMES};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::gateways::Gateways;

/// How often there may be something to ask.
const LOOK: Duration = Duration::from_secs(2);
/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// It is not longer.
const LONGEST: usize = 16 << 20;

/// Asks until `stop`, whenever there is something to ask.
pub(crate) async fn ask(agent: &Agent, gateways: &Gateways, stop: CancellationToken) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        if !agent.has_questions() {
            continue;
        }
        for (address, line) in gateways.reachable().await {
            match timeout(PATIENCE, names(&line)).await {
                Ok(Ok(names)) => {
                    agent.learn(names);
                    break;
                }
                Ok(Err(error)) => tracing::debug!(%address, error, "a gateway does not say what is deployed"),
                Err(_) => {}
            }
        }
    }
}

async fn names(line: &Line) -> Result<BTreeSet<String>, String> {
    let request = Request::get(format!("https://{GATEWAY_NAME}{NAMES}"))
        .body(skep_tls::body(skep_invoke::empty()))
        .map_err(|error| error.to_string())?;
    let response = line.send(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
