//! Telling the other gateways who waits here: one agent is told, and shows it to all of them with its picture. So the one
//! that scales counts everybody's callers, and no gateway needs to reach another.

use std::time::Duration;

use http::Request;
use skep_wire::{AGENT_NAME, WAITING, Waiting};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// How often it is told, for as long as somebody waits.
const TURN: Duration = Duration::from_millis(500);
/// How long an agent may take to hear it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells until `stop`.
pub(crate) async fn tell(shared: &Shared, stop: CancellationToken) {
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = turns.tick() => {}
        }
        let waiting = waiting(shared);
        // That nobody waits any more is said once; if it is not heard, what was said is soon forgotten.
        if waiting.functions.is_empty() && !told {
            continue;
        }
        told = !waiting.functions.is_empty();
        if let Some(Err(error)) = send(shared, &waiting).await {
            tracing::debug!(error, "an agent is not told who waits here");
        }
    }
}

fn waiting(shared: &Shared) -> Waiting {
    let waiting = shared.pool().waiting().into_iter();
    Waiting {
        gateway: shared.gateway().to_owned(),
        namespace: shared.namespace().to_string(),
        functions: waiting.map(|(name, count)| (name.to_string(), count)).collect(),
    }
}

/// `None` where there is no agent.
async fn send(shared: &Shared, waiting: &Waiting) -> Option<Result<(), String>> {
    let eldest = shared.pool().eldest()?;
    let (_, line) = shared.line(eldest)?;
    let body = skep_invoke::full(serde_json::to_string(waiting).unwrap_or_default());
    let request = Request::post(format!("https://{AGENT_NAME}{WAITING}")).body(skep_tls::body(body));
    let request = match request {
        Ok(request) => request,
        Err(error) => return Some(Err(error.to_string())),
    };
    let answer = match timeout(PATIENCE, line.send(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("it answers {}", answer.status())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    };
    Some(answer)
}
