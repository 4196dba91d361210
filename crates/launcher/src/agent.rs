//! One agent: started with its keys, told to end, and heard.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
};
use futures::StreamExt;
use skep_wire::{AGENT_ANSWERS, AGENT_CONTAINER};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{LauncherError, is};
use crate::node;

/// How often an agent that ends is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What an agent says, passed on to the launcher's own log, so that `docker service logs skep-agent` shows it.
#[derive(Debug)]
pub(crate) struct Voice {
    pub(crate) id: String,
    /// When the launcher began to listen.
    pub(crate) since: Instant,
    last: Arc<Mutex<String>>,
    spoke: watch::Receiver<bool>,
    ended: AbortOnDropHandle<()>,
}

impl Voice {
    /// Its last line.
    pub(crate) fn last(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has said that it answers gateways, when it has. One that ends without never came up.
    pub(crate) async fn answers(&mut self) -> bool {
        self.spoke.wait_for(|spoke| *spoke).await.is_ok()
    }

    /// Returns when it has said its last.
    pub(crate) async fn silence(&mut self) {
        // A reader that broke has no more to say either.
        let _ = (&mut self.ended).await;
    }
}

/// Makes the container, starts it and hands it its keys.
pub(crate) async fn start(
    docker: &Docker,
    body: ContainerCreateBody,
    keys: &str,
) -> Result<Voice, LauncherError> {
    let options = CreateContainerOptionsBuilder::default()
        .name(AGENT_CONTAINER)
        .build();
    let made = docker.create_container(Some(options), body).await;
    let id = made
        .map_err(LauncherError::engine("make the agent's container"))?
        .id;
    let started = attach_and_start(docker, &id, keys).await;
    if started.is_err() {
        // The reason is what is told; a container that can't be removed either is found by the next look.
        let _ = node::remove(docker, &id).await;
    }
    started
}

async fn attach_and_start(docker: &Docker, id: &str, keys: &str) -> Result<Voice, LauncherError> {
    let (voice, mut input) = attach(docker, id, true).await?;
    docker
        .start_container(id, None)
        .await
        .map_err(LauncherError::engine("start the agent"))?;
    let line = format!("{}\n", keys.trim());
    let handed = async {
        input.write_all(line.as_bytes()).await?;
        input.shutdown().await
    };
    if let Err(error) = handed.await {
        // It ended before it read them: its own words say why.
        tracing::warn!(%error, "the agent did not take its keys");
    }
    Ok(voice)
}

/// Listens to an agent that runs already.
pub(crate) async fn adopt(docker: &Docker, id: &str) -> Result<Voice, LauncherError> {
    Ok(attach(docker, id, false).await?.0)
}

type Input = std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>;

async fn attach(docker: &Docker, id: &str, stdin: bool) -> Result<(Voice, Input), LauncherError> {
    let options = AttachContainerOptionsBuilder::default()
        .stdin(stdin)
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    let attached = docker.attach_container(id, Some(options)).await;
    let attached = attached.map_err(LauncherError::engine("listen to the agent"))?;
    let last = Arc::new(Mutex::new(String::new()));
    let kept = last.clone();
    let mut output = attached.output;
    // One that is adopted has spoken before.
    let (speaks, spoke) = watch::channel(!stdin);
    let ended = tokio::spawn(async move {
        while let Some(Ok(piece)) = output.next().await {
            let text = String::from_utf8_lossy(&piece.into_bytes()).into_owned();
            eprint!("{text}");
            if text.contains(AGENT_ANSWERS) {
                speaks.send_replace(true);
            }
            if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty()) {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = line.trim().to_owned();
            }
        }
    });
    let voice = Voice {
        id: id.to_owned(),
        since: Instant::now(),
        last,
        spoke,
        ended: AbortOnDropHandle::new(ended),
    };
    Ok((voice, attached.input))
}

/// Waits for an agent that was told to end; one that takes longer than it may is killed.
pub(crate) async fn gone(docker: &Docker, id: &str, drain: Duration) -> Result<(), LauncherError> {
    let deadline = Instant::now() + drain;
    while Instant::now() < deadline {
        if !node::agents(docker).await?.iter().any(|agent| agent.id == id) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    tracing::warn!(
        agent = short(id),
        "the agent took longer than it may: it is killed"
    );
    node::remove(docker, id).await
}

/// Sends it SIGTERM; one that doesn't run needs none.
pub(crate) async fn signal(docker: &Docker, id: &str) -> Result<(), LauncherError> {
    let options = KillContainerOptionsBuilder::default().signal("SIGTERM").build();
    match docker.kill_container(id, Some(options)).await {
        Err(error) if !is(&error, 404) && !is(&error, 409) => {
            Err(LauncherError::engine("tell an agent to end")(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
