//! Hearing what agents have: one connection each, on which pictures of their nodes arrive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use skep_tls::{Dialer, Line, Members};
use skep_wire::{AGENT_NAME, NodePicture};
use tokio::time::timeout;

use crate::shared::Shared;

/// An agent that says nothing for so long is taken for lost.
const SILENCE: Duration = Duration::from_secs(5);
/// No picture is longer: what sends more is no agent.
const LONGEST_LINE: usize = 64 << 20;

/// The agents, each with its picture in the pool.
#[derive(Clone)]
pub(crate) struct Agents(pub(crate) Arc<Shared>);

impl Members for Agents {
    const WHAT: &'static str = "agents";

    fn dialer(&self) -> &Dialer {
        self.0.dialer()
    }

    async fn attend(&self, address: SocketAddr, line: Line) -> bool {
        let mut watched = Watched::begin(&self.0, address, line);
        let reason = watched.follow().await;
        tracing::warn!(%address, reason, "an agent is lost");
        watched.said_something
    }

    fn is_connected(&self, address: SocketAddr) -> bool {
        self.0.has_line_to(address)
    }

    fn looked(&self) {
        self.0.pool().tidy();
    }
}

/// An agent that is connected; dropped, its node is as good as lost.
struct Watched<'a> {
    shared: &'a Shared,
    key: u64,
    line: Line,
    said_something: bool,
}

impl<'a> Watched<'a> {
    fn begin(shared: &'a Shared, address: SocketAddr, line: Line) -> Self {
        let key = shared.add_line(address, line.clone());
        Self {
            shared,
            key,
            line,
            said_something: false,
        }
    }

    /// Takes pictures until something is wrong, and says what.
    async fn follow(&mut self) -> String {
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
                        self.said_something = true;
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
