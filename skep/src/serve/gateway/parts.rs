//! The parts of a gateway, and how they are put together.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Response;
use prometheus_client::registry::Registry;
use skep_backlog::Backlog;
use skep_cluster::{Children, Cluster};
use skep_control::Control;
use skep_discovery::Connection;
use skep_gateway::{Brought, Elsewhere, Gateway, Serving};
use skep_invoke::{Body, Invocation, Metrics};
use skep_services::Services;
use skep_store::{Queue, Store};
use skep_tls::{Identity, Listener};
use skep_wire::{AGENT_NAME, Keys, REGISTRIES_FILE};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::members::Members;
use super::node::ClusterNode;
use super::queue;
use crate::cli;
use crate::exit::{Exit, Failed};
use crate::serve::parts::{BACKLOG, first_look, listed, open_store, workers};
use crate::serve::script::Running;
use crate::serve::settings;
use crate::serve::supervisor::Supervisor;
use crate::serve::{memory, metrics};

/// The name by which the drain finds the listener for agents among what is supervised.
const MEMBERS: &str = "listener for agents";

/// Everything that runs, as far as its end has to be brought about.
pub(super) struct Parts {
    public: Serving,
    cluster: Cluster,
    store: Store,
    supervisor: Supervisor,
    /// Gives up what the backlog runs; the next start repeats it.
    backlog: AbortHandle,
    /// The backlog claims nothing more.
    backlog_drain: CancellationToken,
    /// Nothing more is taken from agents.
    members_drain: CancellationToken,
    /// Everything that only serves the work ends as well.
    stop: CancellationToken,
    connection: watch::Receiver<Connection>,
}

/// The cluster, as a gateway hands its work on.
struct OnCluster(Cluster);

impl Elsewhere for OnCluster {
    fn invoke(&self, invocation: Box<Invocation>) -> BoxFuture<'_, Response<Body>> {
        self.0.invoke(invocation).boxed()
    }

    fn metrics(&self) -> &Metrics {
        self.0.metrics()
    }
}

impl Parts {
    /// Finds the Swarm's manager, and starts every part.
    pub(super) async fn start(
        options: &cli::Gateway,
        public: TcpListener,
        control: TcpListener,
        calls: TcpListener,
    ) -> Result<Self, Failed> {
        let access = settings::access(&options.listeners)?;
        let identity = identity(&options.keys_file)?;
        let calls = Listener::new(calls, &identity, AGENT_NAME)
            .map_err(|error| Failed::new(Exit::Usage, error.to_string()))?;
        let dialer =
            skep_cluster::dialer(&identity).map_err(|error| Failed::new(Exit::Usage, error.to_string()))?;
        let docker = skep_docker::connect_client(options.common.docker.host.as_deref())
            .await
            .map_err(|error| Failed::from_error(Exit::Unreachable, &error))?;
        let common = &options.common;
        let store = open_store(&common.data_dir, common.keep_for, common.keep_bytes).await?;
        let shared = queue::connect(options).await?;
        let accepted: Arc<dyn Queue> = match &shared {
            Some(shared) => shared.clone().into(),
            None => store.clone().into(),
        };
        let services = Services::start(
            docker.clone(),
            skep_services::Config {
                namespace: options.common.namespace.clone(),
                relist: options.common.relist,
            },
        );
        let (catalogue, connection) = (services.catalogue(), services.connection());
        let invoke_metrics = Metrics::default();
        let cluster = Cluster::new(
            cluster_config(options)?,
            dialer,
            Arc::new(store.clone()),
            invoke_metrics.clone(),
        );
        let gateway_metrics = skep_gateway::Metrics::default();
        let gateway = Gateway::new(
            settings::gateway(&options.listeners)?,
            catalogue.clone(),
            skep_gateway::Work::Elsewhere(Arc::new(OnCluster(cluster.clone()))),
            accepted.clone(),
            gateway_metrics.clone(),
        )
        .on(workers()?);
        let backlog = Backlog::new(
            skep_backlog::Config::default(),
            accepted,
            catalogue.clone(),
            gateway.runner(),
        );

        let mut registry = Registry::default();
        store.register(&mut registry);
        if let Some(shared) = &shared {
            shared.register(&mut registry);
        }
        invoke_metrics.register(&mut registry);
        cluster.register(&mut registry);
        gateway_metrics.register(&mut registry);
        backlog.register(&mut registry);
        metrics::register(&mut registry, catalogue.clone());

        let stop = CancellationToken::new();
        let node = ClusterNode {
            cluster: cluster.clone(),
            catalogue: catalogue.clone(),
            connection: connection.clone(),
            store: store.clone(),
            gateway: gateway.clone(),
        };
        let router = skep_control::router(Arc::new(node), Arc::new(registry), access, stop.clone());
        let mut supervisor = Supervisor::default();
        supervisor.watch(
            "control listener",
            Control::new(control, router, stop.clone()).run(),
        );
        supervisor.watch(
            "watch over the Swarm's services",
            watch_services(services, stop.clone()),
        );
        let (finding, ending) = (cluster.clone(), stop.clone());
        supervisor.watch(
            "search for agents",
            async move { finding.find_agents(ending).await },
        );
        let (deciding, ending) = (cluster.clone(), stop.clone());
        let manager = docker.clone();
        let (known, templates) = (listed(connection.clone()), catalogue.clone());
        supervisor.watch("scaling", async move {
            deciding.decide(docker, templates, known, ending).await;
        });
        supervisor.watch(
            "giving back of memory",
            memory::give_back(catalogue.clone(), stop.clone()),
        );
        let members_drain = CancellationToken::new();
        let children = Children::new(cluster.clone(), catalogue.clone(), manager);
        let (looking, ending) = (children.clone(), stop.clone());
        supervisor.watch("watch over the nodes' room", async move {
            looking.run(ending).await;
        });
        let members = Members {
            catalogue,
            calls: Brought::new(gateway.clone()),
            children,
        };
        supervisor.watch(MEMBERS, calls.serve(members, members_drain.clone()));
        if let Some(shared) = shared {
            supervisor.watch("shared queue", shared.run(Some(store.clone()), stop.clone()));
        }
        let backlog_drain = CancellationToken::new();
        let backlog = supervisor.watch(BACKLOG, backlog.run(backlog_drain.clone()));
        Ok(Self {
            public: gateway.serve_after(public, first_look(connection.clone())),
            cluster,
            store,
            supervisor,
            backlog,
            backlog_drain,
            members_drain,
            stop,
            connection,
        })
    }
}

impl Running for Parts {
    const LEFT: &'static str = "given up";

    fn listed(&self) -> BoxFuture<'static, ()> {
        listed(self.connection.clone()).boxed()
    }

    async fn failed(&mut self) -> String {
        tokio::select! {
            reason = self.supervisor.failed() => reason,
            () = self.public.stopped() => "the public listener ended by itself, which it never should".to_owned(),
        }
    }

    async fn work_ended(&mut self) {
        self.backlog_drain.cancel();
        tokio::join!(self.public.drain(), self.supervisor.until_ended(BACKLOG));
        // What ran until now may have called others.
        self.members_drain.cancel();
        self.supervisor.until_ended(MEMBERS).await;
        self.cluster.drained().await;
    }

    /// What agents run for this gateway ends with its connections.
    async fn end(self) {
        // First of all: an accepted invocation that is given up here has not failed, it is to be repeated.
        self.backlog.abort();
        self.public.end().await;
        self.members_drain.cancel();
        self.stop.cancel();
        self.supervisor.ended().await;
        self.store.close().await;
    }
}

async fn watch_services(mut services: Services, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        Some(error) = services.ended() => tracing::error!(%error, "watching the Swarm's services failed"),
    }
}

fn identity(path: &Path) -> Result<Identity, Failed> {
    let failed = |what: String| Failed::new(Exit::Usage, what).hint("skep install makes a gateway's keys");
    let text = std::fs::read_to_string(path)
        .map_err(|error| failed(format!("{} can't be read: {error}", path.display())))?;
    let keys: Keys = serde_json::from_str(&text).map_err(|error| {
        failed(format!(
            "{} does not hold a gateway's keys: {error}",
            path.display()
        ))
    })?;
    Identity::from_pem(&keys.authority, &keys.certificate, &keys.key)
        .map_err(|error| failed(error.to_string()))
}

fn cluster_config(options: &cli::Gateway) -> Result<skep_cluster::Config, Failed> {
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let made_up = || format!("{own}-{}", uuid::Uuid::now_v7().simple());
    let accounts = match std::fs::read_to_string(REGISTRIES_FILE) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            Failed::new(
                Exit::Usage,
                format!("{REGISTRIES_FILE} does not hold accounts: {error}"),
            )
        })?,
        // Without it every image is public, or on the nodes already.
        Err(_) => HashMap::new(),
    };
    Ok(skep_cluster::Config {
        namespace: options.common.namespace.clone(),
        agents: options.agents.clone(),
        gateway: options.task.clone().unwrap_or_else(made_up),
        address: options.node_name.clone().unwrap_or(own.clone()),
        pause: options.pause_config.clone(),
        accounts,
    })
}
