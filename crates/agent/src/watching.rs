//! The reconciler: which sandboxes Docker has, which of them are known, one step at a time. Events say only when to
//! look, and that Swarm wants one ended.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerSummary, EventMessage};
use bollard::query_parameters::{
    EventsOptions, InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
};
use futures::StreamExt;
use skep_wire::label;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::{Adopter, Agent};
use crate::given;
use crate::sandbox::Sandbox;
use crate::template::{self, ImageCommand, Shown};

/// The longest that an answer of Docker may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause after a session that broke.
const PAUSE: Duration = Duration::from_millis(500);
/// How far back events are asked for at the start: an earlier agent may have been told to let go of a sandbox.
const BACK: i64 = 3600;
/// SIGKILL's number, which needs nobody's consent.
const KILL: &str = "9";

/// Watches until `stop`.
pub(crate) async fn watch(agent: &Agent, stop: CancellationToken) {
    let mut since = jiff::Timestamp::now().as_second() - BACK;
    loop {
        let session = session(agent, &mut since);
        let problem = tokio::select! {
            () = stop.cancelled() => return,
            problem = session => problem,
        };
        agent.connected.send_replace(false);
        tracing::warn!(problem, "the bond with the Docker engine broke; trying again");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// One session; gives why it ended.
async fn session(agent: &Agent, since: &mut i64) -> String {
    let docker = &agent.adopter.docker;
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let filters = HashMap::from([
        ("type".to_owned(), words(&["container"])),
        ("event".to_owned(), words(&["start", "kill", "die", "destroy"])),
        ("label".to_owned(), agent.adopter.labels()),
    ]);
    let options = EventsOptions {
        since: Some(since.to_string()),
        until: None,
        filters: Some(filters),
    };
    let mut events = Box::pin(docker.events(Some(options)));
    let began = jiff::Timestamp::now().as_second();
    let mut looks = tokio::time::interval(agent.adopter.relist);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What Swarm wants ended, known or not yet.
    let mut ended: BTreeSet<String> = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(Ok(event)) => {
                    let time = event.time.unwrap_or(began);
                    *since = time;
                    let happened = happened(event);
                    if let Some(Happened::Ended(container) | Happened::Started(container)) = &happened {
                        ended.remove(container);
                    }
                    match happened {
                        Some(Happened::Wished(container)) => {
                            agent.let_go(&container);
                            ended.insert(container);
                        }
                        // What the engine lists is a little behind what it says of itself.
                        Some(Happened::Ended(container)) => {
                            if let Some(gone) = agent.table.get(&container) {
                                agent.lost(&gone);
                            }
                        }
                        // What happened before this session the list tells.
                        Some(Happened::Started(container)) if time >= began => {
                            adopt(agent, vec![container], &ended).await;
                        }
                        _ => {}
                    }
                }
                Some(Err(error)) => return format!("the events broke off: {error}"),
                None => return "the engine ended the events".to_owned(),
            },
            _ = looks.tick() => {
                match timeout(PATIENCE, look(agent, &mut ended)).await {
                    Ok(Ok(())) => drop(agent.connected.send_replace(true)),
                    Ok(Err(error)) => return format!("the containers can't be listed: {error}"),
                    Err(_) => return "no answer to a list of the containers".to_owned(),
                }
            }
        }
    }
}

/// What an event says of a sandbox.
#[derive(Debug, PartialEq, Eq)]
enum Happened {
    Started(String),
    /// Somebody asks it to end.
    Wished(String),
    Ended(String),
}

fn happened(event: EventMessage) -> Option<Happened> {
    let actor = event.actor?;
    let container = actor.id?;
    let signal = actor.attributes.unwrap_or_default().remove("signal");
    match event.action?.as_str() {
        "start" => Some(Happened::Started(container)),
        "kill" if signal.as_deref() != Some(KILL) => Some(Happened::Wished(container)),
        "die" | "destroy" => Some(Happened::Ended(container)),
        _ => None,
    }
}

/// Compares what there is with what is known.
async fn look(agent: &Agent, ended: &mut BTreeSet<String>) -> Result<(), bollard::errors::Error> {
    let filters = HashMap::from([
        ("label", agent.adopter.labels()),
        ("status", vec!["running".to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::default().filters(&filters).build();
    let listed = agent.adopter.docker.list_containers(Some(options)).await?;
    let standing: BTreeSet<String> = listed
        .into_iter()
        .filter_map(|found: ContainerSummary| found.id)
        .collect();
    for gone in agent.table.all() {
        // Whatever an agent that was away did not hear of.
        if !standing.contains(&gone.id) {
            agent.lost(&gone);
        }
    }
    agent.forget_refused(&standing);
    ended.retain(|container| standing.contains(container));
    adopt(agent, standing.into_iter().collect(), ended).await;
    Ok(())
}

/// Takes these containers for sandboxes, as far as they are.
async fn adopt(agent: &Agent, fresh: Vec<String>, ended: &BTreeSet<String>) {
    let fresh = fresh
        .into_iter()
        .filter(|container| agent.table.get(container).is_none());
    let adopting = futures::stream::iter(fresh).map(|container| async move {
        let adopted = agent.adopter.adopt(&container).await;
        (container, adopted)
    });
    let mut adopting = Box::pin(adopting.buffer_unordered(4));
    let mut some = false;
    while let Some((container, adopted)) = adopting.next().await {
        match adopted {
            Ok(sandbox) => {
                some = true;
                let (function, slots) = (sandbox.function.name.clone(), sandbox.slots);
                tracing::info!(container, %function, slots, "a sandbox is here");
                agent.gained(Arc::new(sandbox));
                if ended.contains(&container) {
                    agent.let_go(&container);
                }
            }
            Err(reason) => agent.refuse(container, reason),
        }
    }
    if some {
        agent.tell_engines();
    }
}

impl Adopter {
    /// The labels by which a sandbox of ours is known.
    fn labels(&self) -> Vec<String> {
        vec![
            label::DEFINITION.to_owned(),
            label::SANDBOX.to_owned(),
            format!("{}={}", label::NAMESPACE, self.namespace),
        ]
    }

    /// Reads one container as a sandbox.
    async fn adopt(&self, container: &str) -> Result<Sandbox, String> {
        let inspect = self
            .docker
            .inspect_container(container, None::<InspectContainerOptions>);
        let inspect = inspect.await.map_err(|error| error.to_string())?;
        let image = inspect.image.clone().unwrap_or_default();
        let image = self.docker.inspect_image(&image).await;
        let config = image
            .map_err(|error| error.to_string())?
            .config
            .unwrap_or_default();
        let command = ImageCommand {
            entrypoint: config.entrypoint,
            arguments: config.cmd,
        };
        let process = inspect.state.as_ref().and_then(|state| state.pid);
        let process = process.and_then(|process| u32::try_from(process).ok());
        let mounts = inspect.mounts.iter().flatten();
        let mut shown: Vec<String> = mounts.filter_map(|mount| mount.destination.clone()).collect();
        shown.push(template::PAUSE.to_owned());
        let files = self.files(container, process, shown).await?;
        let read = template::read(inspect, &command, &files).map_err(|error| error.to_string())?;
        Ok(self.sandbox(container, read))
    }

    /// The secrets and configs of a task, copied.
    async fn files(
        &self,
        container: &str,
        process: Option<u32>,
        shown: Vec<String>,
    ) -> Result<Vec<Shown>, String> {
        let process = process
            .filter(|process| *process > 0)
            .ok_or("its process has ended")?;
        let (copies, owned) = (self.copies.clone(), container.to_owned());
        let dockers = format!("{}/containers/{container}/mounts/secrets", self.docker_root);
        let taking = tokio::task::spawn_blocking(move || {
            let mounts = std::fs::read_to_string(format!("/proc/{process}/mountinfo"))?;
            let files = given::of(&mounts, &shown);
            let taken = copies.take(&owned, process, &files)?;
            Ok::<_, std::io::Error>(files.into_iter().zip(taken).collect::<Vec<_>>())
        });
        let taken = taking.await.map_err(|error| error.to_string())?;
        let taken = taken.map_err(|error| format!("its secrets and configs can't be read: {error}"))?;
        let shown = taken.into_iter().map(|(file, copy)| Shown {
            dockers: format!("{dockers}/{}", file.name),
            copy: copy.display().to_string(),
            file,
        });
        Ok(shown.collect())
    }
}

/// Whether a container runs; `None` where the engine does not say.
pub(crate) async fn runs(docker: &bollard::Docker, container: &str) -> Option<bool> {
    let inspect = docker.inspect_container(container, None::<InspectContainerOptions>);
    match timeout(PATIENCE, inspect).await.ok()? {
        Ok(inspect) => inspect.state?.running,
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Some(false),
        Err(_) => None,
    }
}

/// Ends a sandbox's `pause`, and with it Swarm's task.
pub(crate) async fn end(docker: &bollard::Docker, container: &str) {
    let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    let killed = timeout(PATIENCE, docker.kill_container(container, Some(options))).await;
    // Ended by itself, or by Swarm's patience, is as good.
    if let Ok(Err(error)) = killed {
        tracing::debug!(container, %error, "a sandbox that was let go could not be ended");
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(action: &str, signal: Option<&str>) -> EventMessage {
        let attributes = signal.map(|signal| HashMap::from([("signal".to_owned(), signal.to_owned())]));
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some("c".to_owned()),
                attributes,
            }),
            ..EventMessage::default()
        }
    }

    #[test]
    fn a_signal_other_than_the_last_asks_for_an_end() {
        assert_eq!(
            happened(event("kill", Some("15"))),
            Some(Happened::Wished("c".to_owned()))
        );
        assert_eq!(
            happened(event("kill", Some("3"))),
            Some(Happened::Wished("c".to_owned()))
        );
        assert_eq!(happened(event("kill", Some(KILL))), None);
        assert_eq!(
            happened(event("die", None)),
            Some(Happened::Ended("c".to_owned()))
        );
    }
}
