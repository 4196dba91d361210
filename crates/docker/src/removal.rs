//! Removing a container so that nothing of it stays.

use std::sync::Arc;
use std::time::Duration;

use skep_model::InstanceId;
use tokio::time::Instant;

use crate::api::Api;
use crate::error::CallError;
use crate::shared::Shared;

/// How long removing is tried before it is left to the sweep.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills and removes an instance's container. It goes on when the caller goes away, and tells the sweep to look for
/// the container where it didn't succeed.
pub(crate) async fn remove(shared: Arc<Shared>, instance: InstanceId, container: String) {
    let tasks = shared.tasks.clone();
    let work = tasks.spawn(async move {
        if let Err(error) = remove_container(&shared.api, &container).await {
            tracing::warn!(
                container,
                error = error.chain(),
                "a container could not be removed; the sweep will find it"
            );
        }
        shared.live().remove(&instance);
    });
    if let Err(error) = work.await {
        tracing::error!(%error, "removing a container broke off");
    }
}

/// Removes until it is gone. A removal that is under way already (another caller's, the engine's own) is waited for.
pub(crate) async fn remove_container(api: &Api, container: &str) -> Result<(), CallError> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        match api.remove(container).await {
            // The engine answers a second remove with 409 while the first is at work.
            Ok(()) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if begin.elapsed() > PATIENCE => return Err(error),
            Err(error) if error.is_conflict() => {}
            Err(error) => tracing::debug!(
                container,
                error = error.chain(),
                "removing a container is tried again"
            ),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
