//! What is deployed, of which this node has no sandbox: a gateway is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_wire::NAMES;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::gateways::{Gateways, answered};

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
            match timeout(PATIENCE, answered::<BTreeSet<String>>(&line, NAMES, LONGEST)).await {
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
