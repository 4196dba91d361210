//! Watches a Swarm for services that are functions, and says what is deployed: a [`Catalogue`], as `skep-discovery` says
//! it of one engine. It owns what makes a service a template (decision 090) and its revision. It never decides which of
//! two wins or whose a route is (the catalogue does), and changes nothing on the Swarm.

mod reading;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use skep_catalogue::Catalogue;
use skep_discovery::Connection;
use skep_model::Namespace;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use reading::{Networks, Reading, read};

/// What to watch.
#[derive(Debug, Clone)]
pub struct Config {
    /// The namespace whose services count.
    pub namespace: Namespace,
    /// How often everything is listed anew, in case an event was missed.
    pub relist: Duration,
}

/// A running watch. Dropping it ends the watch; the last catalogue stays readable.
#[derive(Debug)]
pub struct Services {
    catalogue: watch::Receiver<Arc<Catalogue>>,
    connection: watch::Receiver<Connection>,
    task: JoinHandle<()>,
}

impl Services {
    /// Begins to watch, by a manager's engine. It need not answer yet: it is tried until it does.
    pub fn start(docker: Docker, config: Config) -> Self {
        let empty = Catalogue::resolve(&config.namespace, Vec::new(), None);
        let (catalogue_sender, catalogue) = watch::channel(Arc::new(empty));
        let (connection_sender, connection) = watch::channel(Connection::never());
        let watcher = session::Watcher::new(docker, config, catalogue_sender, connection_sender);
        Self {
            catalogue,
            connection,
            task: tokio::spawn(watcher.run()),
        }
    }

    /// What is deployed; empty until [`Services::listed`] returns.
    pub fn catalogue(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogue.clone()
    }

    /// How things stand with the Swarm.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    /// Waits until the Swarm's services were read once.
    pub async fn listed(&self) {
        let mut connection = self.connection.clone();
        // An error means that the watch ended; there is nothing to wait for then.
        let _ = connection.wait_for(|state| state.listed).await;
    }

    /// Waits for the watch to end, which it does by a panic only: whoever serves must stop then.
    pub async fn ended(&mut self) -> Option<tokio::task::JoinError> {
        (&mut self.task).await.err()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.task.abort();
    }
}
