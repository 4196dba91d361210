//! Watches a Docker engine for templates and says what is deployed: a [`Catalogue`] that changes within
//! milliseconds of `docker create` and `docker rm`. It owns the reading of Docker (lists, inspections, events), the
//! template and revision made from it, the bond with the engine (loss, reconnection), and the putting back of
//! templates that a prune deleted. It never decides which of two templates wins or which route is whose (the
//! catalogue does), never makes instances, and removes nothing from the engine.

mod compact;
mod connection;
mod copies;
mod events;
mod images;
mod learning;
mod listing;
mod metrics;
mod networks;
mod prune;
mod publish;
mod putback;
mod reading;
mod removed;
mod restoring;
mod revision;
mod session;
mod template;
mod watcher;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use prometheus_client::registry::Registry;
use skep_catalogue::Catalogue;
use skep_model::{Function, Namespace};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use compact::sorted;
pub use connection::Connection;
use metrics::Metrics;
pub use publish::warn_of_invalid;
pub use template::template;

/// Says why the node's engine can't run a function as it stands; each reason makes the function invalid.
pub type Supports = Arc<dyn Fn(&Function) -> Vec<String> + Send + Sync>;

/// What to watch.
#[derive(Debug, Clone)]
pub struct Config {
    /// The namespace whose templates count.
    pub namespace: Namespace,
    /// How often everything is listed anew, in case an event was missed.
    pub relist: Duration,
    /// Where files without a name are kept that hold what was put into templates with `docker cp`.
    pub scratch: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            relist: Duration::from_secs(30),
            scratch: std::env::temp_dir(),
        }
    }
}

/// A running watch. Dropping it ends the watch; the last catalogue stays readable.
#[derive(Debug)]
pub struct Discovery {
    catalogue: watch::Receiver<Arc<Catalogue>>,
    connection: watch::Receiver<Connection>,
    metrics: Metrics,
    task: JoinHandle<()>,
}

impl Discovery {
    /// Begins to watch. The engine need not answer yet: it is tried until it does.
    pub fn start(docker: Docker, config: Config, supports: Supports) -> Self {
        let metrics = Metrics::default();
        let empty = Catalogue::resolve(&config.namespace, Vec::new(), None);
        let (catalogue_sender, catalogue) = watch::channel(Arc::new(empty));
        let (connection_sender, connection) = watch::channel(Connection::never());
        let watcher = watcher::Watcher::new(
            docker,
            config,
            supports,
            metrics.clone(),
            catalogue_sender,
            connection_sender,
        );
        let task = tokio::spawn(watcher.run());
        Self {
            catalogue,
            connection,
            metrics,
            task,
        }
    }

    /// What is deployed; empty until [`Discovery::listed`] returns.
    pub fn catalogue(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogue.clone()
    }

    /// How things stand with the engine.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    /// Waits until the engine's templates were read once.
    pub async fn listed(&self) {
        let mut connection = self.connection.clone();
        // An error means that the watch ended; there is nothing to wait for then.
        let _ = connection.wait_for(|state| state.listed).await;
    }

    /// Adds the metric families of discovery.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Waits for the watch to end, which it does by a panic only: whoever serves must stop then.
    pub async fn ended(&mut self) -> Option<tokio::task::JoinError> {
        (&mut self.task).await.err()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}
