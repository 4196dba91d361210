//! Calls that an agent brings: its node's functions call others, and the agent vouches for who calls.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use skep_invoke::Body;
use skep_model::InvocationId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::forwarded::Origin;
use crate::gateway::{Door, Gateway};
use crate::service::{Caller, Connection};
use crate::turn::Turn;

/// Answers such calls. A clone is the same.
#[derive(Clone)]
pub struct Brought {
    gateway: Gateway,
    tasks: TaskTracker,
}

impl Brought {
    /// By this gateway.
    pub fn new(gateway: Gateway) -> Self {
        Self {
            gateway,
            tasks: TaskTracker::new(),
        }
    }

    /// Answers one that came from `address` to `port` on its node, on behalf of `parent`.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        parent: Option<InvocationId>,
        address: IpAddr,
        port: u16,
    ) -> Response<Body> {
        let proxies = &self.gateway.config().trusted_proxies;
        let local = SocketAddr::new(address, port);
        let connection = Connection {
            gateway: self.gateway.clone(),
            origin: Origin::new(local, local, proxies),
            door: Door::Call,
            tasks: self.tasks.clone(),
            turn: Arc::new(Turn::default()),
            // The connection is the agent's, and ends as members' do.
            drain: CancellationToken::new(),
            caller: Caller::Vouched(parent),
        };
        connection.answer(request).await
    }
}

impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Brought")
    }
}
