//! Functions' Docker sockets, as this process has them.

use std::sync::Arc;

use skep_catalogue::Catalogue;
use skep_dispatch::Dispatcher;
use skep_docker::DockerEngine;
use skep_model::{InstanceId, InvocationId};
use skep_socket::Sockets;
use tokio::sync::watch;

use super::settings::Settings;
use crate::exit::{Exit, Failed};

/// Finds out what the engine speaks, so that sockets can be opened with the first instance that has one.
pub(super) async fn open(settings: &Settings, docker: &DockerEngine) -> Result<Sockets, Failed> {
    let config = skep_socket::Config {
        namespace: settings.namespace.clone(),
        data_directory: settings.data_directory.clone(),
        docker_host: settings.docker_host.clone(),
    };
    Sockets::new(config, docker)
        .await
        .map_err(|error| Failed::from_error(Exit::Failure, &error))
}

/// Tells the sockets what is in force, and who serves what.
pub(super) fn connect(
    sockets: &Sockets,
    catalogue: &watch::Receiver<Arc<Catalogue>>,
    dispatcher: &Dispatcher,
) {
    sockets.connect(catalogue.clone(), Arc::new(Lineage(dispatcher.clone())));
}

/// Which invocations run where, as the sockets ask for it.
struct Lineage(Dispatcher);

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lineage")
    }
}

impl skep_socket::Lineage for Lineage {
    fn invocations_in(&self, instance: InstanceId) -> Vec<InvocationId> {
        self.0.invocations_in(instance)
    }
}
