//! Finding agents and hearing what they have: one connection each, on which pictures of their nodes arrive.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use skep_tls::{Dialer, Line};
use skep_wire::{AGENT_NAME, NodePicture};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::shared::Shared;

/// How often it is looked which agents there are.
const LOOK: Duration = Duration::from_secs(1);
/// An agent that says nothing for so long is taken for lost.
const SILENCE: Duration = Duration::from_secs(5);
/// The pauses between tries of one that can't be reached.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// No picture is longer: what sends more is no agent.
const LONGEST_LINE: usize = 64 << 20;

/// Looks for agents until `stop`. `names` are each a host name or an address, with its port.
pub(crate) async fn run(shared: Arc<Shared>, names: Vec<String>, stop: CancellationToken) {
    let mut known: HashMap<SocketAddr, AbortOnDropHandle<()>> = HashMap::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        let mut found = HashSet::new();
        let mut all_answered = true;
        for name in &names {
            match tokio::net::lookup_host(name).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => {
                    tracing::debug!(name, %error, "agents can't be looked up");
                    all_answered = false;
                }
            }
        }
        for address in found.iter().copied() {
            known.entry(address).or_insert_with(|| {
                let shared = shared.clone();
                AbortOnDropHandle::new(tokio::spawn(async move { attend(&shared, address).await }))
            });
        }
        // Names know of a dead agent before its connection does; only what neither knows is let go.
        if all_answered {
            known.retain(|address, _| found.contains(address) || shared.has_line_to(*address));
        }
        shared.pool().tidy();
    }
}

/// Keeps up the connection to one agent.
async fn attend(shared: &Shared, address: SocketAddr) {
    let mut pause = FIRST_PAUSE;
    loop {
        match shared.dialer().line(address).await {
            Ok(line) => {
                let watched = Watched::begin(shared, address, line);
                let reason = watched.follow(&mut pause).await;
                tracing::warn!(%address, reason, "an agent is lost");
            }
            Err(error) => tracing::debug!(%address, %error, "an agent can't be reached"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// An agent that is connected; dropped, its node is as good as lost.
struct Watched<'a> {
    shared: &'a Shared,
    key: u64,
    line: Line,
}

impl<'a> Watched<'a> {
    fn begin(shared: &'a Shared, address: SocketAddr, line: Line) -> Self {
        let key = shared.add_line(address, line.clone());
        Self { shared, key, line }
    }

    /// Takes pictures until something is wrong, and says what.
    async fn follow(&self, pause: &mut Duration) -> String {
        let request =
            Request::get(format!("https://{AGENT_NAME}/v1/watch")).body(skep_tls::body(skep_invoke::empty()));
        let request = match request {
            Ok(request) => request,
            Err(error) => return error.to_string(),
        };
        let mut body = match timeout(SILENCE, self.line.send(request)).await {
            Ok(Ok(response)) if response.status().is_success() => response.into_body(),
            Ok(Ok(response)) => return format!("it answers {}", response.status()),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return silent(),
        };
        let mut read = BytesMut::new();
        loop {
            match timeout(SILENCE, more(&mut body, &mut read)).await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return reason,
                Err(_) => return silent(),
            }
            while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let line = read.split_to(end + 1);
                match serde_json::from_slice::<NodePicture>(&line) {
                    Ok(picture) => {
                        *pause = FIRST_PAUSE;
                        self.shared.picture(self.key, picture);
                    }
                    Err(error) => return format!("its picture can't be read: {error}"),
                }
            }
            if read.len() > LONGEST_LINE {
                return "its picture has no end".to_owned();
            }
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.shared.remove_line(self.key);
    }
}

async fn more(body: &mut Incoming, read: &mut BytesMut) -> Result<(), String> {
    match body.frame().await {
        Some(Ok(frame)) => {
            if let Some(data) = frame.data_ref() {
                read.extend_from_slice(data);
            }
            Ok(())
        }
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it ended its picture".to_owned()),
    }
}

fn silent() -> String {
    format!("it said nothing for {} s", SILENCE.as_secs())
}

/// The dialer of a gateway: it believes agents only.
///
/// # Errors
/// The identity can't be used.
pub fn dialer(identity: &skep_tls::Identity) -> Result<Dialer, skep_tls::IdentityError> {
    Dialer::new(identity, AGENT_NAME)
}
