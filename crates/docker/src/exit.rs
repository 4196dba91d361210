//! Waiting for a container's end, through everything that may happen to the engine meanwhile.
//!
//! Each instance has one open `wait` call. The shared event stream would cost less, but the engine drops events for
//! a reader that is slow for 100 ms, and an exit that is never seen would hold a slot for ever.

use std::time::Duration;

use bollard::errors::Error as BollardError;
use bollard::query_parameters::WaitContainerOptions;
use futures::StreamExt;
use skep_engine::Exit;

use crate::api::Api;
use crate::error::CallError;

/// What is said of a container that vanished: that it was killed, which is what removing it by force does.
const VANISHED: Exit = Exit {
    code: 137,
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
    let state = api.inspect(id).await?.state.unwrap_or_default();
    if state.running.unwrap_or(false) {
        return Ok(None);
    }
    Ok(Some(Exit {
        code: state.exit_code.unwrap_or(137),
        out_of_memory: state.oom_killed.unwrap_or(false),
    }))
}
