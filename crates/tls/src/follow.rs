//! Finding members by their names, and keeping a connection to each.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::dialer::{Dialer, Line};

/// How often it is looked which members there are.
const LOOK: Duration = Duration::from_secs(1);
/// The pauses between tries of one that can't be reached.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is done with the members that are found.
pub trait Members: Clone + Send + Sync + 'static {
    /// What they are called in the log: `agents`.
    const WHAT: &'static str;

    /// Connects to them.
    fn dialer(&self) -> &Dialer;

    /// Uses the connection to one until it is over. Gives whether it was of any use: then the next is tried for at once,
    /// else less and less often. Dropped where the member is let go.
    fn attend(&self, address: SocketAddr, line: Line) -> impl Future<Output = bool> + Send;

    /// Whether there is a connection to it now.
    fn is_connected(&self, address: SocketAddr) -> bool;

    /// It was looked which members there are.
    fn looked(&self) {}
}

/// Looks for members until `stop`. `names` are each a host name or an address, with its port.
pub async fn follow<M: Members>(members: M, names: &[String], stop: CancellationToken) {
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
        for name in names {
            match tokio::net::lookup_host(name).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => {
                    tracing::debug!(name, %error, "{} can't be looked up", M::WHAT);
                    all_answered = false;
                }
            }
        }
        for address in found.iter().copied() {
            known.entry(address).or_insert_with(|| {
                let members = members.clone();
                AbortOnDropHandle::new(tokio::spawn(async move { keep_up(&members, address).await }))
            });
        }
        // Names know of a dead member before its connection does; only what neither knows is let go.
        if all_answered {
            known.retain(|address, _| found.contains(address) || members.is_connected(*address));
        }
        members.looked();
    }
}

/// Keeps up the connection to one.
async fn keep_up<M: Members>(members: &M, address: SocketAddr) {
    let mut pause = FIRST_PAUSE;
    loop {
        match members.dialer().line(address).await {
            Ok(line) => {
                if members.attend(address, line).await {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => tracing::debug!(%address, %error, "one of the {} can't be reached", M::WHAT),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
