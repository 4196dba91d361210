//! What a manager's engine is asked.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{LocalNodeState, Node, Service, ServiceSpec, Task};
use bollard::query_parameters::{ListServicesOptionsBuilder, UpdateServiceOptionsBuilder};

use crate::error::{InstallError, is};

/// Fails where nothing can be installed, with what to do instead.
pub(crate) async fn check(docker: &Docker) -> Result<(), InstallError> {
    let info = docker
        .info()
        .await
        .map_err(InstallError::engine("describe itself"))?;
    let swarm = info.swarm.unwrap_or_default();
    match swarm.local_node_state {
        Some(LocalNodeState::ACTIVE) => {}
        _ => return Err(InstallError::NoSwarm),
    }
    if swarm.control_available == Some(true) {
        return Ok(());
    }
    let managers = swarm.remote_managers.unwrap_or_default();
    let managers: Vec<_> = managers.into_iter().filter_map(|manager| manager.addr).collect();
    Err(InstallError::Worker {
        managers: managers.join(", "),
    })
}

pub(crate) async fn nodes(docker: &Docker) -> Result<Vec<Node>, InstallError> {
    docker
        .list_nodes(None)
        .await
        .map_err(InstallError::engine("list the nodes"))
}

pub(crate) async fn services(docker: &Docker, label: &str) -> Result<Vec<Service>, InstallError> {
    let options = ListServicesOptionsBuilder::default()
        .filters(&labelled(label))
        .build();
    docker
        .list_services(Some(options))
        .await
        .map_err(InstallError::engine("list services"))
}

pub(crate) async fn service(docker: &Docker, name: &str) -> Result<Option<Service>, InstallError> {
    match docker.inspect_service(name, None).await {
        Err(error) if is(&error, 404) => Ok(None),
        found => found
            .map(Some)
            .map_err(InstallError::engine(format!("look at the service {name}"))),
    }
}

pub(crate) async fn create(docker: &Docker, spec: ServiceSpec) -> Result<(), InstallError> {
    let doing = format!("create the service {}", spec.name.as_deref().unwrap_or_default());
    let created = docker.create_service(spec, None).await;
    created.map(drop).map_err(InstallError::engine(doing))
}

pub(crate) async fn update(docker: &Docker, there: &Service, spec: ServiceSpec) -> Result<(), InstallError> {
    let name = spec.name.clone().unwrap_or_default();
    let version = there.version.as_ref().and_then(|version| version.index);
    let options = UpdateServiceOptionsBuilder::default()
        .version(i32::try_from(version.unwrap_or_default()).unwrap_or(i32::MAX))
        .build();
    let updated = docker.update_service(&name, spec, options, None).await;
    updated
        .map(drop)
        .map_err(InstallError::engine(format!("update the service {name}")))
}

pub(crate) async fn remove_service(docker: &Docker, id: &str) -> Result<(), InstallError> {
    match docker.delete_service(id).await {
        Err(error) if !is(&error, 404) => {
            Err(InstallError::engine(format!("remove the service {id}"))(error))
        }
        _ => Ok(()),
    }
}

/// The tasks of a service, which need not exist any more.
pub(crate) async fn tasks(docker: &Docker, service: &str) -> Result<Vec<Task>, InstallError> {
    let all = docker.list_tasks(None).await;
    let mut tasks = all.map_err(InstallError::engine("list the tasks"))?;
    tasks.retain(|task| task.service_id.as_deref() == Some(service));
    Ok(tasks)
}

/// The engine's filter for a label.
pub(crate) fn labelled(label: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![label.to_owned()])])
}
