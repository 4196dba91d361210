//! Children on other nodes, through a gateway that knows their agents: the one that holds the function's budget, another
//! where that one is gone.

use std::fmt;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::UPGRADE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use skep_model::FunctionName;
use skep_socket::{Elsewhere, Unreached};
use skep_tls::{Body, Line, Members};
use skep_wire::{Field as _, GATEWAY_NAME, HOLDERS, NOT_STARTED, VISIT, Visit, WANTED};
use tokio::time::timeout;

use crate::gateways::{Gateways, answered};

/// How long a gateway may take to say who holds children.
const PATIENCE: Duration = Duration::from_secs(3);
/// Its answer is not longer.
const LONGEST: usize = 1 << 20;

/// The way to other nodes. A clone is the same.
#[derive(Clone)]
pub(crate) struct Afar {
    gateways: Gateways,
    node: String,
}

impl fmt::Debug for Afar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Afar")
    }
}

impl Afar {
    /// From this node.
    pub(crate) fn new(gateways: Gateways, node: &str) -> Self {
        Self {
            gateways,
            node: node.to_owned(),
        }
    }

    async fn nodes(&self, function: &FunctionName) -> Vec<String> {
        for (_, line) in self.gateways.known_for(function.as_str()) {
            let path = format!("{HOLDERS}/{function}");
            match timeout(PATIENCE, answered::<Vec<String>>(&line, &path, LONGEST)).await {
                Ok(Ok(mut nodes)) => {
                    nodes.retain(|node| *node != self.node);
                    return nodes;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%function, error, "a gateway does not say who holds children")
                }
                Err(_) => {}
            }
        }
        Vec::new()
    }

    async fn wanted(&self, starter: &FunctionName, function: &str) -> Result<(), String> {
        // In the order in which they are asked where the child is to be: what one knows another may not have heard of.
        for (_, line) in self.gateways.known_for(starter.as_str()) {
            match begun(&line, function).await {
                Ok(begun) => return begun,
                Err(error) => tracing::debug!(function, error, "a gateway begins no sandbox"),
            }
        }
        Err("no gateway answers, and one has to begin it".to_owned())
    }

    async fn sent(
        &self,
        mut visit: Visit,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Unreached> {
        if let Some(making) = &mut visit.making {
            making.node.clone_from(&self.node);
        }
        request.headers_mut().insert(VISIT, visit.header());
        let nobody = || Unreached::NotSent("no gateway answers, through which it is reached".to_owned());
        let in_order = self.gateways.known_for(&visit.function);
        let (address, line) = in_order.into_iter().next().ok_or_else(nobody)?;
        let response = if let Some(protocol) = request.headers_mut().remove(UPGRADE) {
            let connection = self.gateways.dialer().upgradable(address).await;
            let connection = connection.map_err(|error| Unreached::NotSent(error.to_string()))?;
            skep_tls::address_upgrade(&mut request, GATEWAY_NAME, protocol);
            let sent = connection.send(request).await;
            let (response, driver) = sent.map_err(|error| Unreached::Lost(error.to_string()))?;
            // It ends with the connection that its answer is, or became.
            driver.detach();
            response
        } else {
            let unusable = |error: http::Error| Unreached::NotSent(error.to_string());
            skep_tls::address(&mut request, GATEWAY_NAME).map_err(unusable)?;
            line.send(request).await.map_err(|error| {
                if skep_tls::was_not_sent(&error) {
                    Unreached::NotSent(error.to_string())
                } else {
                    Unreached::Lost(error.to_string())
                }
            })?
        };
        let not_started = response.headers().contains_key(NOT_STARTED);
        if not_started || response.headers().contains_key(skep_wire::PROBLEM) {
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let said = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            let said = said.unwrap_or_else(|error| error.to_string());
            return Err(if not_started {
                Unreached::NotSent(said)
            } else {
                Unreached::Lost(said)
            });
        }
        Ok(response)
    }
}

impl Elsewhere for Afar {
    fn holders<'a>(&'a self, function: &'a FunctionName) -> BoxFuture<'a, Vec<String>> {
        self.nodes(function).boxed()
    }

    fn begin<'a>(
        &'a self,
        starter: &'a FunctionName,
        function: &'a str,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.wanted(starter, function).boxed()
    }

    fn ask(
        &self,
        visit: Visit,
        request: Request<Body>,
    ) -> BoxFuture<'_, Result<Response<Incoming>, Unreached>> {
        self.sent(visit, request).boxed()
    }
}

/// What a gateway says that was asked for a sandbox; it takes as long as the function's timeout has it.
async fn begun(line: &Line, function: &str) -> Result<Result<(), String>, String> {
    let request = Request::post(format!("https://{GATEWAY_NAME}{WANTED}/{function}"))
        .body(skep_tls::body(skep_invoke::empty()))
        .map_err(|error| error.to_string())?;
    let response = line.send(request).await.map_err(|error| error.to_string())?;
    match response.status() {
        StatusCode::NO_CONTENT => Ok(Ok(())),
        StatusCode::SERVICE_UNAVAILABLE => {
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let bytes = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Err(String::from_utf8_lossy(&bytes).into_owned()))
        }
        status => Err(format!("it answers {status}")),
    }
}
