//! Waiting until Swarm has done what it was asked for.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{ServiceUpdateStatusStateEnum, Task, TaskState};
use skep_deploy::{Event, Progress};
use tokio::time::{Instant, sleep};

use crate::error::InstallError;
use crate::spec::DIGEST;
use crate::swarm;

/// Swarm tells of no change of a task, so it is asked.
const LOOK: Duration = Duration::from_millis(300);

/// Waits until so many tasks run the spec with this digest, and none another.
pub(crate) async fn running(
    docker: &Docker,
    name: &str,
    digest: &str,
    expected: usize,
    patience: Duration,
    progress: &dyn Progress,
) -> Result<(), InstallError> {
    let began = Instant::now();
    let mut told = String::new();
    loop {
        let service = swarm::service(docker, name).await?;
        let id = service.as_ref().and_then(|service| service.id.clone());
        let tasks = swarm::tasks(docker, id.as_deref().unwrap_or_default()).await?;
        let state = service.and_then(|service| service.update_status?.state);
        let said = complaint(&of_digest(&tasks, digest)).unwrap_or_default();
        if is_rollback(state) {
            return Err(InstallError::RolledBack {
                service: name.to_owned(),
                said,
            });
        }
        let count = Count::of(&tasks, digest);
        if count.new >= expected && count.old == 0 {
            progress.event(Event::Waited {
                name: name.to_owned(),
            });
            return Ok(());
        }
        let mut what = format!("{} of {expected} tasks", count.new);
        if !said.is_empty() {
            what = format!("{what} ({said})");
        }
        if began.elapsed() > patience {
            return Err(InstallError::NotRunning {
                service: name.to_owned(),
                seconds: patience.as_secs(),
                said: what,
            });
        }
        if what != told {
            progress.event(Event::Waiting {
                name: name.to_owned(),
                what: what.clone(),
            });
            told = what;
        }
        sleep(LOOK).await;
    }
}

fn is_rollback(state: Option<ServiceUpdateStatusStateEnum>) -> bool {
    matches!(
        state,
        Some(
            ServiceUpdateStatusStateEnum::ROLLBACK_STARTED
                | ServiceUpdateStatusStateEnum::ROLLBACK_PAUSED
                | ServiceUpdateStatusStateEnum::ROLLBACK_COMPLETED
                | ServiceUpdateStatusStateEnum::PAUSED
        )
    )
}

/// Waits until a service's tasks have ended on every node that answers. Gives those that have not in time.
pub(crate) async fn ended(
    docker: &Docker,
    service: &str,
    ready: &[String],
    patience: Duration,
) -> Result<Vec<Task>, InstallError> {
    let began = Instant::now();
    loop {
        let mut tasks = swarm::tasks(docker, service).await?;
        tasks.retain(|task| {
            let here = task.node_id.as_ref().is_some_and(|node| ready.contains(node));
            here && !has_ended(task)
        });
        if tasks.is_empty() || began.elapsed() > patience {
            return Ok(tasks);
        }
        sleep(LOOK).await;
    }
}

fn is_of(task: &Task, digest: &str) -> bool {
    let container = task.spec.as_ref().and_then(|spec| spec.container_spec.as_ref());
    let labels = container.and_then(|container| container.labels.as_ref());
    labels
        .and_then(|labels| labels.get(DIGEST))
        .is_some_and(|own| own == digest)
}

/// What went wrong with earlier specs is of no interest any more.
fn of_digest(tasks: &[Task], digest: &str) -> Vec<Task> {
    tasks.iter().filter(|task| is_of(task, digest)).cloned().collect()
}

/// How many tasks are as they should be, and how many are still as they were.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    new: usize,
    old: usize,
}

impl Count {
    fn of(tasks: &[Task], digest: &str) -> Self {
        let mut count = Self { new: 0, old: 0 };
        for task in tasks
            .iter()
            .filter(|task| task.desired_state == Some(TaskState::RUNNING))
        {
            if !is_of(task, digest) {
                count.old += 1;
            } else if state(task) == Some(TaskState::RUNNING) {
                count.new += 1;
            }
        }
        count
    }
}

pub(crate) fn state(task: &Task) -> Option<TaskState> {
    task.status.as_ref().and_then(|status| status.state)
}

pub(crate) fn has_ended(task: &Task) -> bool {
    matches!(
        state(task),
        Some(
            TaskState::COMPLETE
                | TaskState::SHUTDOWN
                | TaskState::FAILED
                | TaskState::REJECTED
                | TaskState::ORPHANED
        )
    )
}

/// What the latest task that has something to complain of says.
pub(crate) fn complaint(tasks: &[Task]) -> Option<String> {
    let unhappy = tasks.iter().filter_map(|task| {
        let error = task
            .status
            .as_ref()?
            .err
            .clone()
            .filter(|error| !error.is_empty())?;
        Some((task.updated_at.as_ref(), error))
    });
    unhappy.max_by_key(|(time, _)| *time).map(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{Task, TaskSpec, TaskSpecContainerSpec, TaskState, TaskStatus};

    use super::Count;
    use crate::spec::DIGEST;

    fn task(digest: &str, wanted: TaskState, state: TaskState) -> Task {
        Task {
            desired_state: Some(wanted),
            status: Some(TaskStatus {
                state: Some(state),
                ..TaskStatus::default()
            }),
            spec: Some(TaskSpec {
                container_spec: Some(TaskSpecContainerSpec {
                    labels: Some(HashMap::from([(DIGEST.to_owned(), digest.to_owned())])),
                    ..TaskSpecContainerSpec::default()
                }),
                ..TaskSpec::default()
            }),
            ..Task::default()
        }
    }

    #[test]
    fn an_update_is_over_when_nothing_old_is_wanted_any_more() {
        let tasks = [
            task("new", TaskState::RUNNING, TaskState::RUNNING),
            task("new", TaskState::RUNNING, TaskState::STARTING),
            task("old", TaskState::RUNNING, TaskState::RUNNING),
            task("old", TaskState::SHUTDOWN, TaskState::SHUTDOWN),
        ];
        assert_eq!(Count::of(&tasks, "new"), Count { new: 1, old: 1 });
    }
}
