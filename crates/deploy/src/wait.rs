//! Waits for containers by the engine's events.

use crate::error::DeployError;
use bollard::Docker;
use bollard::models::{ContainerInspectResponse, HealthStatusEnum};
use bollard::query_parameters::EventsOptions;
use futures::StreamExt;
use skep_compose::Condition;
use std::collections::HashMap;
use std::time::Duration;

/// Looks again after this long even without an event: one may be lost where
/// the engine restarts.
const RECHECK: Duration = Duration::from_secs(2);

/// Waits until a container is what `condition` asks for; the inner error says
/// why it never will be.
pub(crate) async fn until(
    docker: &Docker,
    container: &str,
    condition: Condition,
    patience: Option<Duration>,
) -> Result<Result<(), String>, DeployError> {
    let waiting = async {
        let filters = HashMap::from([
            (String::from("type"), vec![String::from("container")]),
            (String::from("container"), vec![container.to_owned()]),
        ]);
        let options = EventsOptions {
            filters: Some(filters),
            ..EventsOptions::default()
        };
        let mut events = std::pin::pin!(docker.events(Some(options)));
        loop {
            let now = docker
                .inspect_container(container, None)
                .await
                .map_err(DeployError::engine(format!("inspect {container}")))?;
            if let Some(outcome) = judge(&now, condition) {
                return Ok(outcome);
            }
            // Either way the next look decides.
            let _ = tokio::time::timeout(RECHECK, events.next()).await;
        }
    };
    match patience {
        Some(patience) => match tokio::time::timeout(patience, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => Ok(Err(format!(
                "did not become {} within {} s",
                word(condition),
                patience.as_secs()
            ))),
        },
        None => waiting.await,
    }
}

pub(crate) fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Healthy => "healthy",
        Condition::Completed => "completed",
    }
}

fn judge(container: &ContainerInspectResponse, condition: Condition) -> Option<Result<(), String>> {
    let state = container.state.as_ref()?;
    let running = state.running.unwrap_or(false) || state.restarting.unwrap_or(false);
    let code = state.exit_code.unwrap_or(0);
    match condition {
        Condition::Started => running.then_some(Ok(())),
        Condition::Completed if running => None,
        Condition::Completed if code == 0 => Some(Ok(())),
        Condition::Completed => Some(Err(format!("exited with {code}"))),
        Condition::Healthy if !running => Some(Err(format!("exited with {code}"))),
        Condition::Healthy => match state.health.as_ref().and_then(|health| health.status) {
            Some(HealthStatusEnum::HEALTHY) => Some(Ok(())),
            Some(HealthStatusEnum::UNHEALTHY) => {
                let last = state
                    .health
                    .as_ref()
                    .and_then(|health| health.log.as_ref()?.last()?.output.clone())
                    .unwrap_or_default();
                Some(Err(format!("is unhealthy: {}", last.trim())))
            }
            Some(HealthStatusEnum::STARTING) => None,
            _ => Some(Err(String::from(
                "has no healthcheck, neither in the file nor in its image",
            ))),
        },
    }
}
