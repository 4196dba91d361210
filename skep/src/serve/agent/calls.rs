//! The listener by which a node's functions call others: read and checked as on one host, and answered by a gateway.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Response;
use skep_agent::{Agent, Calls};
use skep_catalogue::Catalogue;
use skep_dispatch::Dispatcher;
use skep_docker::CallReceiver;
use skep_gateway::{Call, Gateway, Onward, Serving, Work};
use skep_invoke::{Body, Metrics};
use skep_store::Store;
use skep_wire::Caller;
use tokio::sync::watch;

use crate::exit::Failed;
use crate::serve::parts::workers;

/// Brings calls to the cluster's gateways.
struct ToGateways {
    agent: Agent,
    calls: Calls,
    metrics: Metrics,
}

impl Onward for ToGateways {
    fn call(&self, call: Call) -> BoxFuture<'_, Response<Body>> {
        let caller = Caller {
            parent: call.parent,
            address: call.address,
            port: call.port,
        };
        self.calls.call(call.request, caller).boxed()
    }

    fn dispatchers(&self) -> Vec<Dispatcher> {
        self.agent.dispatchers()
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Serves the connections that functions of this node open.
pub(super) fn serve(
    agent: &Agent,
    calls: &Calls,
    store: &Store,
    received: CallReceiver,
) -> Result<Serving, Failed> {
    let onward = ToGateways {
        agent: agent.clone(),
        calls: calls.clone(),
        metrics: agent.metrics().clone(),
    };
    let config = skep_gateway::Config {
        // How much is allowed is the gateway's to say.
        max_body: u64::MAX,
        ..skep_gateway::Config::default()
    };
    // What is deployed is known to gateways alone.
    let (_, catalogue) = watch::channel(Arc::<Catalogue>::default());
    let work = Work::Onward(Arc::new(onward));
    let gateway = Gateway::new(
        config,
        catalogue,
        work,
        store.clone(),
        skep_gateway::Metrics::default(),
    );
    Ok(gateway.on(workers()?).serve_calls(received))
}
