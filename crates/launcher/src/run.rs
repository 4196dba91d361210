//! The launcher's loop.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::{Stream, StreamExt};
use skep_wire::{PART, READY_FILE};
use tokio::time::{Instant, sleep, timeout};

use crate::agent::{self, Voice, short};
use crate::body::{AGENT, Here, Settings, body};
use crate::error::LauncherError;
use crate::node;
use crate::plan::{Step, acts, step};

/// How often the node is looked at without an event.
const PERIOD: Duration = Duration::from_secs(10);
/// An agent that lived for less did not come up.
const SOON: Duration = Duration::from_secs(20);
/// How often in a row that may happen before the launcher gives up, so that Swarm shows it.
const FAILURES: u32 = 5;
/// The pauses between two attempts grow from the one to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

struct Launcher<'a> {
    docker: &'a Docker,
    settings: &'a Settings,
    here: Here,
    voice: Option<Voice>,
    failures: u32,
    /// Whether the task's health check has been told that there is an agent.
    ready: bool,
    /// The agents that were told to end.
    told: Vec<String>,
}

/// Keeps this node's agent until the signal. `again` is asked for a second signal while the agent ends.
///
/// # Errors
/// It isn't a Swarm task, or the agent can't be kept running.
pub async fn run<F, S>(
    docker: &Docker,
    settings: &Settings,
    signal: F,
    again: impl FnOnce() -> S,
) -> Result<(), LauncherError>
where
    F: Future<Output = ()>,
    S: Future<Output = ()>,
{
    let here = node::here(docker, settings).await?;
    let mut launcher = Launcher {
        docker,
        settings,
        here,
        voice: None,
        failures: 0,
        ready: false,
        told: Vec::new(),
    };
    let kept = {
        let keeping = launcher.keep();
        tokio::select! {
            kept = keeping => kept,
            () = signal => Ok(()),
        }
    };
    kept?;
    launcher.leave(again()).await;
    Ok(())
}

impl Launcher<'_> {
    /// Looks and takes steps, for ever.
    async fn keep(&mut self) -> Result<(), LauncherError> {
        let mut events = Box::pin(events(self.docker));
        let mut pause = FIRST_PAUSE;
        loop {
            match self.look().await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(failing @ LauncherError::Failing { .. }) => return Err(failing),
                // The engine restarts, or the network isn't there yet.
                Err(error) => {
                    tracing::warn!(error = %report(&error), "the node is looked at again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    events = Box::pin(self::events(self.docker));
                    continue;
                }
            }
            let ready = self.ready;
            let silence = async {
                match &mut self.voice {
                    Some(voice) => {
                        if !ready && voice.answers().await {
                            self.ready = say_ready().await;
                        }
                        voice.silence().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = silence => self.mourn().await?,
                event = timeout(PERIOD, events.next()) => if let Ok(None) = event {
                    sleep(pause).await;
                    events = Box::pin(self::events(self.docker));
                },
            }
        }
    }

    /// Takes steps until everything is as it should be.
    async fn look(&mut self) -> Result<(), LauncherError> {
        loop {
            let launchers = node::launchers(self.docker, &self.here, &self.settings.task).await?;
            if !acts(&self.settings.task, &launchers) {
                // The successor's agent is none of this one's business.
                self.voice = None;
                return Ok(());
            }
            let (body, digest) = body(self.settings, &self.here);
            match step(&digest, &node::agents(self.docker).await?) {
                Step::Keep(id) => {
                    if self.voice.as_ref().is_none_or(|voice| voice.id != id) {
                        tracing::info!(agent = short(&id), "the agent is adopted");
                        self.voice = Some(agent::adopt(self.docker, &id).await?);
                    }
                    return Ok(());
                }
                Step::End(id) => self.end(&id).await?,
                Step::Remove(id) => node::remove(self.docker, &id).await?,
                Step::Wait => sleep(FIRST_PAUSE).await,
                Step::Start => {
                    let voice = agent::start(self.docker, body, &self.settings.keys).await?;
                    tracing::info!(agent = short(&voice.id), "the agent is started");
                    self.voice = Some(voice);
                }
            }
        }
    }

    /// The agent ended: it is started again, a little later each time it did not come up.
    async fn mourn(&mut self) -> Result<(), LauncherError> {
        let Some(voice) = self.voice.take() else {
            return Ok(());
        };
        tracing::warn!(agent = short(&voice.id), "the agent ended");
        if voice.since.elapsed() > SOON {
            self.failures = 0;
            return Ok(());
        }
        self.failures += 1;
        if self.failures >= FAILURES {
            return Err(LauncherError::Failing {
                times: self.failures,
                seconds: SOON.as_secs(),
                last: voice.last(),
            });
        }
        sleep((FIRST_PAUSE * 2u32.pow(self.failures)).min(LONGEST_PAUSE)).await;
        Ok(())
    }

    /// The task was told to end. A successor takes the agent over; without one, it goes. Swarm is the one that loses
    /// patience: an engine that does not answer is asked again.
    async fn leave(&mut self, again: impl Future<Output = ()>) {
        let began = Instant::now();
        let mut again = std::pin::pin!(again);
        let mut hurried = false;
        loop {
            let left = tokio::select! {
                left = self.hand_over_or_end() => left,
                () = &mut again, if !hurried => {
                    hurried = true;
                    // The agent's own second signal.
                    self.hurry().await
                }
            };
            match left {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = %report(&error), "the agent could not be ended yet");
                    sleep(FIRST_PAUSE).await;
                }
            }
        }
        tracing::info!(seconds = began.elapsed().as_secs(), "the launcher ends");
    }

    async fn hand_over_or_end(&mut self) -> Result<bool, LauncherError> {
        let launchers = node::launchers(self.docker, &self.here, &self.settings.task).await?;
        if !acts(&self.settings.task, &launchers) {
            tracing::info!("another launcher has taken over");
            return Ok(true);
        }
        for agent in node::agents(self.docker).await? {
            self.end(&agent.id).await?;
        }
        Ok(true)
    }

    /// Tells an agent to end what runs, once: to be told again means to end at once.
    async fn end(&mut self, id: &str) -> Result<(), LauncherError> {
        if !self.told.iter().any(|told| told == id) {
            tracing::info!(agent = short(id), "the agent is told to end");
            agent::signal(self.docker, id).await?;
            self.told.push(id.to_owned());
        }
        agent::gone(self.docker, id, self.settings.drain).await
    }

    async fn hurry(&self) -> Result<bool, LauncherError> {
        for agent in node::agents(self.docker).await? {
            agent::signal(self.docker, &agent.id).await?;
        }
        Ok(false)
    }
}

async fn say_ready() -> bool {
    let written = tokio::fs::write(READY_FILE, "").await;
    if let Err(error) = &written {
        tracing::warn!(%error, "{READY_FILE} can't be written: Swarm will take this task for unhealthy");
    }
    written.is_ok()
}

/// Something happened to an agent's container.
fn events(docker: &Docker) -> impl Stream<Item = ()> + use<> {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), vec!["die".to_owned(), "destroy".to_owned()]),
        ("label".to_owned(), vec![format!("{PART}={AGENT}")]),
    ]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    let events = docker.events(Some(options));
    // A stream that broke is an end like any other: it is opened anew.
    events
        .take_while(|event| std::future::ready(event.is_ok()))
        .map(|_| ())
}

fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}
