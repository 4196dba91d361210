//! What is on this node, as its engine tells it.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use skep_wire::PART;
use tokio::time::{Instant, sleep};

use crate::body::{AGENT, DIGEST, Here, Settings};
use crate::error::{LauncherError, is};
use crate::plan::{Found, State, Task};

/// How long an engine may take to list what it started, and how often it is asked.
const LISTED: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

const TASK_ID: &str = "com.docker.swarm.task.id";
const SERVICE_ID: &str = "com.docker.swarm.service.id";
/// Where the engine's socket is in the launcher's container.
const SOCKET: &str = "/var/run/docker.sock";

async fn list(
    docker: &Docker,
    all: bool,
    label: String,
    doing: &'static str,
) -> Result<Vec<ContainerSummary>, LauncherError> {
    let options = ListContainersOptionsBuilder::default()
        .all(all)
        .filters(&HashMap::from([("label".to_owned(), vec![label])]))
        .build();
    docker
        .list_containers(Some(options))
        .await
        .map_err(LauncherError::engine(doing))
}

fn label(container: &ContainerSummary, name: &str) -> String {
    let labels = container.labels.as_ref();
    labels
        .and_then(|labels| labels.get(name))
        .cloned()
        .unwrap_or_default()
}

/// The launcher's own place.
pub(crate) async fn here(docker: &Docker, settings: &Settings) -> Result<Here, LauncherError> {
    let no_task = || LauncherError::NoTask {
        task: settings.task.clone(),
    };
    if settings.task.is_empty() {
        return Err(no_task());
    }
    let own = own(docker, &settings.task).await?.ok_or_else(no_task)?;
    let info = docker
        .info()
        .await
        .map_err(LauncherError::engine("describe itself"))?;
    let mounts = own.mounts.iter().flatten();
    let socket = mounts
        .filter(|mount| mount.destination.as_deref() == Some(SOCKET))
        .find_map(|mount| mount.source.clone());
    Ok(Here {
        image: own.image_id.clone().unwrap_or_default(),
        socket: socket.unwrap_or_else(|| SOCKET.to_owned()),
        docker_root: info
            .docker_root_dir
            .unwrap_or_else(|| "/var/lib/docker".to_owned()),
        service: label(&own, SERVICE_ID),
        created: own.created.unwrap_or_default(),
    })
}

/// The container of a task that was just started: a busy engine lists it a little later than it runs.
async fn own(docker: &Docker, task: &str) -> Result<Option<ContainerSummary>, LauncherError> {
    let began = Instant::now();
    loop {
        let label = format!("{TASK_ID}={task}");
        let found = list(docker, true, label, "find the launcher's own container").await?;
        if let Some(own) = found.into_iter().next() {
            return Ok(Some(own));
        }
        if began.elapsed() > LISTED {
            return Ok(None);
        }
        sleep(LOOK).await;
    }
}

/// The tasks of the launcher's service that run on this node, this one among them whether it is listed yet or not.
pub(crate) async fn launchers(docker: &Docker, here: &Here, own: &str) -> Result<Vec<Task>, LauncherError> {
    let running = list(
        docker,
        false,
        format!("{SERVICE_ID}={}", here.service),
        "list the launchers",
    )
    .await?;
    let task = |container: &ContainerSummary| Task {
        task: label(container, TASK_ID),
        created: container.created.unwrap_or_default(),
    };
    let mut tasks: Vec<Task> = running.iter().map(task).collect();
    if !tasks.iter().any(|task| task.task == own) {
        tasks.push(Task {
            task: own.to_owned(),
            created: here.created,
        });
    }
    Ok(tasks)
}

/// The agents on this node.
pub(crate) async fn agents(docker: &Docker) -> Result<Vec<Found>, LauncherError> {
    let containers = list(docker, true, format!("{PART}={AGENT}"), "list the agents").await?;
    let found = |container: ContainerSummary| Found {
        digest: label(&container, DIGEST),
        state: match container.state {
            Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED) => State::Running,
            Some(ContainerSummaryStateEnum::REMOVING) => State::Going,
            _ => State::Still,
        },
        id: container.id.unwrap_or_default(),
    };
    Ok(containers.into_iter().map(found).collect())
}

/// Removes a container, whatever it does; one that is gone or going is as good as removed.
pub(crate) async fn remove(docker: &Docker, id: &str) -> Result<(), LauncherError> {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    match docker.remove_container(id, Some(options)).await {
        Err(error) if !is(&error, 404) && !is(&error, 409) => {
            Err(LauncherError::engine("remove an agent")(error))
        }
        _ => Ok(()),
    }
}
