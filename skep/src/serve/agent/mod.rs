//! `skep agent`, as a script: the engines and the store of one node, and the listener that gateways speak to.

mod calls;
mod node;

use std::io::BufRead;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use skep_agent::{Agent, Calls, Config, Gateways, Parts};
use skep_docker::{DockerEngine, NamespaceLock};
use skep_lean::{Engines, LeanEngine};
use skep_model::EngineChoice;
use skep_store::Store;
use skep_tls::{Identity, Listener};
use skep_wire::{GATEWAY_NAME, Keys};
use tokio_util::sync::CancellationToken;

use super::script::{self, Running};
use super::supervisor::Supervisor;
use super::{bind, parts, sockets, spawner};
use crate::cli;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;
use node::AgentNode;

/// Serves gateways until a signal.
pub(crate) fn run(printer: &Printer, options: cli::Agent) -> Outcome {
    let runtime = script::begin(&options.common)?;
    let identity = identity(&options)?;
    let outcome = runtime.block_on(serve(printer, options, &identity));
    // A read of standard input can't be interrupted, and nobody needs its end.
    runtime.shutdown_background();
    outcome
}

/// The keys, from the file or as the first line of standard input.
fn identity(options: &cli::Agent) -> Result<Identity, Failed> {
    let failed = |what: String| Failed::new(Exit::Usage, what).hint("skep install makes an agent's keys");
    let text = match &options.keys_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| failed(format!("{} can't be read: {error}", path.display())))?,
        None => {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.map_err(|error| failed(format!("standard input can't be read: {error}")))?;
            line
        }
    };
    let keys: Keys = serde_json::from_str(&text)
        .map_err(|error| failed(format!("these are not the keys of an agent: {error}")))?;
    Identity::from_pem(&keys.authority, &keys.certificate, &keys.key)
        .map_err(|error| failed(error.to_string()))
}

/// Everything that runs, as far as its end has to be brought about.
struct Serving {
    agent: Agent,
    /// Functions' calls, on their way to gateways.
    calls: Calls,
    calling: skep_gateway::Serving,
    store: Store,
    lock: NamespaceLock,
    supervisor: Supervisor,
    /// Nothing new is taken, and what is watched ends; what is being answered goes on.
    closing: CancellationToken,
    stop: CancellationToken,
}

async fn serve(printer: &Printer, options: cli::Agent, identity: &Identity) -> Outcome {
    let mut signals = script::signals()?;
    let listener = bind("--listen", options.listen).await?;
    let address = listener.local_addr();
    let address = address.map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    let listener = Listener::new(listener, identity, GATEWAY_NAME)
        .map_err(|error| Failed::from_error(Exit::Usage, &error))?;
    let starting = Serving::start(&options, listener, identity);
    let Some(serving) = script::started(printer, &mut signals, starting).await? else {
        return Ok(Exit::Success);
    };
    // Gateways are answered before that, and told of sandboxes as they are found.
    let ready = format!("{} on {address}", skep_wire::AGENT_ANSWERS);
    script::serve(
        printer,
        &mut signals,
        serving,
        &ready,
        options.common.drain_timeout,
    )
    .await
}

impl Serving {
    async fn start(options: &cli::Agent, listener: Listener, identity: &Identity) -> Result<Self, Failed> {
        let failed = |error: std::io::Error| Failed::from_error(Exit::Failure, &error);
        let config = skep_docker::Config {
            docker_host: options.common.docker.host.clone(),
            namespace: options.common.namespace.clone(),
            call_port: 0,
        };
        let (docker, received) = parts::connect(config).await?;
        let common = &options.common;
        let store = parts::open_store(&common.data_dir, common.keep_for, common.keep_bytes).await?;
        let lock = docker
            .lock()
            .await
            .map_err(|error| Failed::from_error(Exit::Failure, &error))?;
        docker.sweep().await;
        let folder = Agent::folder(&options.common.namespace);
        let line = spawner::start(&options.common.data_dir).map_err(failed)?;
        let lean = skep_lean::Config {
            namespace: options.common.namespace.clone(),
            data_directory: options.common.data_dir.clone(),
            keep_layers: options.making.keep_layers,
        };
        let lean = LeanEngine::showing(lean, docker.clone(), line.clone(), Some(folder)).await;
        let default = EngineChoice::from(options.making.engine);
        let (node, hostname) = whereabouts(options, &docker).await;
        let config = Config {
            namespace: options.common.namespace.clone(),
            node,
            hostname,
            relist: options.common.relist,
        };
        let sockets = skep_socket::Config {
            namespace: options.common.namespace.clone(),
            data_directory: options.common.data_dir.clone(),
            docker_host: options.common.docker.host.clone(),
        };
        let sockets = sockets::open(sockets, &docker).await?;
        sockets::with_lean(&sockets, &lean, default, true, &options.common.data_dir).await?;
        let gateways = Gateways::new(identity, options.gateways.clone())
            .map_err(|error| Failed::from_error(Exit::Usage, &error))?;
        let agent = Agent::new(
            config,
            Parts {
                docker: docker.clone(),
                lean: lean.clone(),
                engines: Engines::new(docker.clone(), lean.clone(), default),
                store: store.clone(),
                sockets: sockets.clone(),
                gateways: gateways.clone(),
            },
        );
        let agent = agent.await.map_err(failed)?;

        let mut registry = Registry::default();
        docker.register_metrics(&mut registry);
        lean.register_metrics(&mut registry);
        store.register(&mut registry);
        agent.register(&mut registry);

        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut supervisor = Supervisor::default();
        let (engine, ending) = (docker.clone(), stop.clone());
        supervisor.watch("docker engine's background", async move {
            engine.run_background(ending).await
        });
        let directory = options.common.data_dir.clone();
        spawner::watch(&mut supervisor, line, lean, directory, stop.clone());
        let calls = Calls::new(gateways.clone());
        let calling = calls::serve(&agent, &calls, &store, received)?;
        let (watching, ending) = (agent.clone(), stop.clone());
        supervisor.watch("watch over sandboxes", async move {
            watching.run(ending).await;
        });
        let node = AgentNode {
            agent: agent.clone(),
            sockets,
            store: store.clone(),
        };
        let control = skep_control::unguarded(Arc::new(node), Arc::new(registry), closing.clone());
        supervisor.watch(
            "listener for gateways",
            listener.serve(agent.reply(control, closing.clone()), closing.clone()),
        );
        Ok(Self {
            agent,
            calls,
            calling,
            store,
            lock,
            supervisor,
            closing,
            stop,
        })
    }
}

impl Running for Serving {
    const LEFT: &'static str = "ended";

    fn listed(&self) -> BoxFuture<'static, ()> {
        let agent = self.agent.clone();
        async move { agent.listed().await }.boxed()
    }

    async fn failed(&mut self) -> String {
        tokio::select! {
            reason = self.supervisor.failed() => reason,
            () = self.calling.stopped() => "the listener for functions' calls ended by itself".to_owned(),
        }
    }

    /// What runs comes to its end, and what it calls with it.
    async fn work_ended(&mut self) {
        self.agent.drain().await;
        self.calling.drain().await;
        self.calls.drained().await;
    }

    /// It leaves nothing behind but the sandboxes, which are Swarm's.
    async fn end(self) {
        self.agent.end().await;
        self.calling.end().await;
        self.closing.cancel();
        self.stop.cancel();
        self.supervisor.ended().await;
        self.store.close().await;
        self.lock.release().await;
    }
}

/// Which node of the Swarm this is.
async fn whereabouts(options: &cli::Agent, docker: &DockerEngine) -> (String, String) {
    let info = docker.docker().info().await.unwrap_or_default();
    let node = info.swarm.and_then(|swarm| swarm.node_id);
    (
        options.node.clone().or(node).unwrap_or_default(),
        options.node_name.clone().or(info.name).unwrap_or_default(),
    )
}
