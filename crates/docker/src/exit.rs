//! Waiting for a container's end, through everything that may happen to the engine meanwhile.
//!
//! Each instance has one open `wait` call. The shared event stream would cost less, but the engine drops events for
//! a reader that is slow for 100 ms, and an exit that is never seen would hold a slot for ever.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::query_parameters::{EventsOptionsBuilder, WaitContainerOptions};
use futures::StreamExt;
use skep_engine::Exit;

use crate::api::Api;
use crate::error::CallError;

/// The exit code of who was killed.
const KILLED: i64 = 137;
/// How late an event may be, and how many seconds back one is looked for.
const LATE_EVENT: Duration = Duration::from_millis(200);
const EVENTS_BACK: i64 = 60;

/// What is said of a container that vanished: that it was killed, which is what removing it by force does.
const VANISHED: Exit = Exit {
    code: KILLED,
    out_of_memory: false,
};

/// Waits until a container that was started has ended. It returns as well where the container is gone.
pub(crate) async fn wait(api: &Api, id: &str) -> Exit {
    let mut pause = Duration::from_millis(100);
    loop {
        match wait_once(api, id).await {
            Ok(code) if code == 0 => {
                return Exit {
                    code,
                    out_of_memory: false,
                };
            }
            Ok(code) => {
                return look(api, id).await.ok().flatten().unwrap_or(Exit {
                    code,
                    out_of_memory: false,
                });
            }
            Err(error) if error.is_not_found() => return VANISHED,
            Err(error) => tracing::debug!(
                container = id,
                error = error.chain(),
                "waiting for an exit broke off"
            ),
        }
        // The engine restarts, or never answered the wait: look for ourselves, then wait again.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
        match look(api, id).await {
            Ok(Some(exit)) => return exit,
            Err(error) if error.is_not_found() => return VANISHED,
            Ok(None) | Err(_) => {}
        }
    }
}

async fn wait_once(api: &Api, id: &str) -> Result<i64, CallError> {
    let options = WaitContainerOptions {
        condition: "not-running".to_owned(),
    };
    let answers = api.docker.wait_container(id, Some(options));
    let mut answers = std::pin::pin!(answers);
    match answers.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(BollardError::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(error.into()),
        None => Err(CallError::Unreachable(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// The exit as `inspect` tells it; `None` while it runs.
async fn look(api: &Api, id: &str) -> Result<Option<Exit>, CallError> {
    let inspect = api.inspect(id).await?;
    let state = inspect.state.unwrap_or_default();
    if state.running.unwrap_or(false) {
        return Ok(None);
    }
    let code = state.exit_code.unwrap_or(KILLED);
    let limited = inspect.host_config.and_then(|host| host.memory).unwrap_or(0) > 0;
    let out_of_memory =
        state.oom_killed.unwrap_or(false) || (code == KILLED && limited && ran_out_of_memory(api, id).await);
    Ok(Some(Exit { code, out_of_memory }))
}

/// Whether an event says so: an engine that hears of the exit first never puts it into the container's state.
async fn ran_out_of_memory(api: &Api, id: &str) -> bool {
    let now = jiff::Timestamp::now().as_second();
    let filters = HashMap::from([("container", vec![id]), ("event", vec!["oom"])]);
    let options = EventsOptionsBuilder::default()
        .since(&(now - EVENTS_BACK).to_string())
        .until(&(now + 1).to_string())
        .filters(&filters)
        .build();
    let mut events = std::pin::pin!(api.docker.events(Some(options)));
    let first = tokio::time::timeout(LATE_EVENT, events.next()).await;
    matches!(first, Ok(Some(Ok(_))))
}
