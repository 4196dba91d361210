//! Budgets over all nodes: one gateway holds each function's, the same for every agent. An agent asks it with all that
//! the function would have here, and says so again every while (decision 092).

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use skep_model::{FunctionName, Spawn};
use skep_socket::{Agreed, Budget, Held, Question, Sockets, Usage};
use skep_tls::Line;
use skep_wire::{CLAIMS, Claim, GATEWAY_NAME};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::gateways::Gateways;

/// How often a gateway is told what there is.
const PERIOD: Duration = Duration::from_secs(2);
/// How long it may take to answer; one that just started waits a few seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// A refusal is not longer.
const LONGEST: usize = 16 << 10;
/// Nor are the nodes of a Swarm.
const LONGEST_AGREED: usize = 1 << 20;

/// Asks gateways. A clone is the same.
#[derive(Clone)]
pub(crate) struct Budgets {
    gateways: Gateways,
    node: Arc<str>,
    sequence: Arc<AtomicU64>,
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budgets")
    }
}

impl Budget for Budgets {
    fn claim<'a>(
        &'a self,
        function: &'a FunctionName,
        grant: &'a Spawn,
        held: &'a (dyn Fn() -> Held + Send + Sync),
        question: Question,
    ) -> BoxFuture<'a, Result<Agreed, String>> {
        async move {
            // Before what is claimed is read: what has a larger number has this in it.
            let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
            let limits = skep_wire::Usage {
                children: grant.max.into(),
                memory: grant.memory,
                nano_cpus: grant.nano_cpus,
            };
            let mut claim = self.claimed(function, sequence, held());
            claim.limits = Some(limits);
            match question {
                Question::Here => {}
                Question::For(node, number) => claim.instead = Some((node, number)),
                Question::Where(place) => {
                    claim.place = Some(skep_wire::Place {
                        number: place.number,
                        wants: written(place.wants),
                        of: place.of,
                        inherits: place.inherits,
                        can: place.can,
                        stays: place.stays,
                        here: written(place.here),
                    });
                }
            }
            self.ask(function, &claim).await
        }
        .boxed()
    }
}

impl Budgets {
    /// Of this node.
    pub(crate) fn new(gateways: Gateways, node: &str) -> Self {
        Self {
            gateways,
            node: node.into(),
            // Larger than any of an earlier agent's.
            sequence: Arc::new(AtomicU64::new(now())),
        }
    }

    /// Says what there is, until `stop`.
    pub(crate) async fn tell(&self, sockets: &Sockets, stop: CancellationToken) {
        let mut turns = interval(PERIOD);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: HashSet<FunctionName> = HashSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = turns.tick() => {}
            }
            let sequence = self.sequence.load(Ordering::SeqCst);
            let usage = sockets.usage();
            let gone: Vec<FunctionName> = told
                .iter()
                .filter(|name| !usage.contains_key(*name))
                .cloned()
                .collect();
            let nothing = gone.into_iter().map(|name| (name, Held::default()));
            told = usage.keys().cloned().collect();
            for (function, held) in usage.into_iter().chain(nothing) {
                let claim = self.claimed(&function, sequence, held);
                if let Err(error) = self.ask(&function, &claim).await {
                    tracing::debug!(%function, error, "no gateway hears what a function's children have");
                }
            }
        }
    }

    fn claimed(&self, function: &FunctionName, sequence: u64, held: Held) -> Claim {
        let asking = held.asking.into_iter();
        Claim {
            node: self.node.to_string(),
            sequence,
            function: function.to_string(),
            usage: written(held.usage),
            limits: None,
            asking: asking.map(|(number, usage)| (number, written(usage))).collect(),
            place: None,
            instead: None,
        }
    }

    async fn ask(&self, function: &FunctionName, claim: &Claim) -> Result<Agreed, String> {
        let claim = serde_json::to_vec(claim).unwrap_or_default();
        for line in self.gateways.in_order_for(function.as_str()).await {
            match timeout(PATIENCE, asked(&line, claim.clone())).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(error)) => tracing::debug!(error, "a gateway holds no budget; another is asked"),
                Err(_) => {}
            }
        }
        Err(
            "no gateway answers, and one has to say what the function's children have on other nodes"
                .to_owned(),
        )
    }
}

fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// As it is sent.
pub(crate) fn written(usage: Usage) -> skep_wire::Usage {
    skep_wire::Usage {
        children: usage.children,
        memory: usage.memory,
        nano_cpus: usage.nano_cpus,
    }
}

async fn asked(line: &Line, claim: Vec<u8>) -> Result<Result<Agreed, String>, String> {
    let request = Request::post(format!("https://{GATEWAY_NAME}{CLAIMS}"))
        .body(skep_tls::body(skep_invoke::full(claim)))
        .map_err(|error| error.to_string())?;
    let response = line.send(request).await.map_err(|error| error.to_string())?;
    match response.status() {
        StatusCode::NO_CONTENT => Ok(Ok(Agreed::default())),
        StatusCode::OK => {
            let body = Limited::new(response.into_body(), LONGEST_AGREED).collect().await;
            let bytes = body.map_err(|error| error.to_string())?.to_bytes();
            let agreed: skep_wire::Agreed =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            Ok(Ok(Agreed {
                node: agreed.node,
                others: agreed.others,
            }))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let bytes = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Err(String::from_utf8_lossy(&bytes).into_owned()))
        }
        status => Err(format!("it answers {status}")),
    }
}
