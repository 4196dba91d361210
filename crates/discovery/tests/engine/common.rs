//! A watch on the real engine, in a namespace of the test's own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use skep_catalogue::Catalogue;
use skep_discovery::{Config, Discovery, Supports};
use tokio::sync::watch;

/// Far more than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Watch {
    pub(crate) discovery: Discovery,
    catalogue: watch::Receiver<Arc<Catalogue>>,
}

impl Watch {
    /// Watches the namespace, and waits until it was listed once.
    pub(crate) async fn start(namespace: &str) -> Self {
        Self::with(namespace, Duration::from_secs(600), Arc::new(|_| Vec::new())).await
    }

    pub(crate) async fn with(namespace: &str, relist: Duration, supports: Supports) -> Self {
        let docker = Docker::connect_with_local_defaults()
            .unwrap()
            .negotiate_version()
            .await
            .unwrap();
        Self::through(docker, namespace, relist, supports).await
    }

    pub(crate) async fn through(
        docker: Docker,
        namespace: &str,
        relist: Duration,
        supports: Supports,
    ) -> Self {
        let namespace = namespace.parse().unwrap();
        let discovery = Discovery::start(
            docker,
            Config {
                namespace,
                relist,
                ..Config::default()
            },
            supports,
        );
        tokio::time::timeout(PATIENCE, discovery.listed())
            .await
            .expect("never listed");
        let catalogue = discovery.catalogue();
        Self { discovery, catalogue }
    }

    /// Waits until the catalogue is as wanted; returns it and how long that took.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Catalogue) -> bool) -> (Arc<Catalogue>, Duration) {
        let begin = Instant::now();
        let found =
            tokio::time::timeout(PATIENCE, self.catalogue.wait_for(|catalogue| wanted(catalogue))).await;
        let found = found
            .ok()
            .map(|found| Arc::clone(&found.expect("the watch runs")));
        match found {
            Some(found) => (found, begin.elapsed()),
            None => panic!("never came; instead: {:?}", self.now()),
        }
    }

    /// What is in force now.
    pub(crate) fn now(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.borrow())
    }

    /// Waits until a template is invalid; returns its reasons in one text.
    pub(crate) async fn reasons(&mut self, template: &str) -> String {
        let (catalogue, _) = self
            .until(|catalogue| {
                catalogue
                    .invalid()
                    .iter()
                    .any(|found| &*found.template.0 == template)
            })
            .await;
        let invalid = catalogue
            .invalid()
            .iter()
            .find(|found| &*found.template.0 == template)
            .unwrap();
        invalid.reasons.join("; ")
    }
}

/// The image that every test may use.
pub(crate) const IMAGE: &str = "debian:bookworm-slim";
