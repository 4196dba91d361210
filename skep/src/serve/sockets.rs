//! Functions' Docker sockets, as this process has them.

use std::path::Path;
use std::sync::Arc;

use skep_catalogue::Catalogue;
use skep_control::api;
use skep_dispatch::Dispatcher;
use skep_docker::DockerEngine;
use skep_lean::LeanEngine;
use skep_model::{EngineChoice, InstanceId, InvocationId};
use skep_socket::{Child, Sockets, State};
use tokio::sync::watch;

use crate::exit::{Exit, Failed};

/// Finds out what the engine speaks, so that sockets can be opened with the first instance that has one.
pub(super) async fn open(config: skep_socket::Config, docker: &DockerEngine) -> Result<Sockets, Failed> {
    Sockets::new(config, docker)
        .await
        .map_err(|error| Failed::from_error(Exit::Failure, &error))
}

/// Has the lean engine make children, where it gives what they ask for; `in_tasks` where functions run in those of a
/// Swarm. Those of an earlier Skep are known again.
pub(super) async fn with_lean(
    sockets: &Sockets,
    lean: &LeanEngine,
    engine: EngineChoice,
    in_tasks: bool,
    data_directory: &Path,
) -> Result<(), Failed> {
    let used = sockets.use_lean(lean.clone(), engine, in_tasks, data_directory);
    used.await
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

/// A child as the control listener shows it.
pub(super) fn shown(child: &Child) -> api::Child {
    let (state, exit_code) = match child.state {
        _ if child.is_removed() => (api::ChildState::Removed, child.exit_code()),
        State::Created => (api::ChildState::Created, None),
        State::Running => (api::ChildState::Running, None),
        State::Exited(code) => (api::ChildState::Exited, Some(code)),
    };
    api::Child {
        id: child.id.clone(),
        name: child.name.clone(),
        function: child.function().to_string(),
        parent: child.parent().to_owned(),
        invocation: child.invocation().map(|id| id.to_string()),
        generation: child.generation(),
        started_as: child.started_as().to_owned(),
        state,
        exit_code,
        created: child.created,
        started: child.started,
        ended: child.ended,
        memory: child.memory(),
        nano_cpus: child.nano_cpus(),
        node: None,
    }
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
