//! The bond with the Swarm: list, then follow the events; and begin anew when it breaks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{EventMessage, Service};
use bollard::query_parameters::{
    EventsOptions, InspectServiceOptions, ListNetworksOptions, ListServicesOptions,
};
use futures::StreamExt;
use jiff::Timestamp;
use skep_catalogue::Catalogue;
use skep_discovery::Connection;
use skep_model::label;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::Config;
use crate::reading::{Networks, Reading, read};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A session this long was a good one: the pause after it is short again.
const GOOD_SESSION: Duration = Duration::from_secs(30);
/// Events from so long before a session are read again: to look once too often costs little.
const OVERLAP: Duration = Duration::from_secs(10);
/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Watcher {
    docker: Docker,
    config: Config,
    catalogue: watch::Sender<Arc<Catalogue>>,
    connection: watch::Sender<Connection>,
    known: HashMap<String, Reading>,
    networks: Networks,
}

impl Watcher {
    pub(crate) fn new(
        docker: Docker,
        config: Config,
        catalogue: watch::Sender<Arc<Catalogue>>,
        connection: watch::Sender<Connection>,
    ) -> Self {
        Self {
            docker,
            config,
            catalogue,
            connection,
            known: HashMap::new(),
            networks: Networks::new(),
        }
    }

    /// Watches for ever.
    pub(crate) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let problem = self.session().await;
            tracing::warn!(
                problem,
                "the connection to the Swarm's manager is lost; trying again"
            );
            self.connection.send_modify(|connection| connection.lost(problem));
            if began.elapsed() > GOOD_SESSION {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One session; returns why it ended. Its events begin before the first list, so that none is missed between.
    async fn session(&mut self) -> String {
        let docker = self.docker.clone();
        let mut events = Box::pin(docker.events(Some(service_events())));
        let mut relist = interval(self.config.relist);
        relist.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One question at a time: an answer can't be older than the one before it.
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        loop {
            let step = tokio::select! {
                biased;
                _ = relist.tick() => {
                    wanted.clear();
                    timeout(PATIENCE, self.list()).await
                }
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        wanted.extend(concerns(event));
                        continue;
                    }
                    Some(Err(error)) => return format!("the events broke off: {error}"),
                    None => return "the engine ended the events".to_owned(),
                },
                () = std::future::ready(()), if !wanted.is_empty() => {
                    let Some(id) = wanted.pop_first() else { continue };
                    timeout(PATIENCE, self.look(&id)).await
                }
            };
            match step {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return format!("the services can't be read: {error}"),
                Err(_) => return format!("no answer within {} s", PATIENCE.as_secs()),
            }
            if wanted.is_empty() {
                self.publish();
            }
        }
    }

    async fn list(&mut self) -> Result<(), Error> {
        let filters = HashMap::from([("label".to_owned(), vec![label::FUNCTION.to_owned()])]);
        let options = ListServicesOptions {
            filters: Some(filters),
            ..Default::default()
        };
        let services = self.docker.list_services(Some(options)).await?;
        if services.iter().any(|service| self.names_unknown(service)) {
            self.learn_networks().await?;
        }
        let read = |service: &Service| {
            let reading = read(service, &self.networks, &self.config.namespace);
            Some((service.id.clone()?, reading))
        };
        self.known = services.iter().filter_map(read).collect();
        Ok(())
    }

    /// Reads one service anew.
    async fn look(&mut self, id: &str) -> Result<(), Error> {
        match self
            .docker
            .inspect_service(id, None::<InspectServiceOptions>)
            .await
        {
            Ok(service) => {
                let labels = service.spec.as_ref().and_then(|spec| spec.labels.as_ref());
                if labels.is_some_and(|labels| labels.contains_key(label::FUNCTION))
                    && self.names_unknown(&service)
                {
                    self.learn_networks().await?;
                }
                let reading = read(&service, &self.networks, &self.config.namespace);
                self.known.insert(id.to_owned(), reading);
                Ok(())
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                self.known.remove(id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn names_unknown(&self, service: &Service) -> bool {
        let task = service.spec.as_ref().and_then(|spec| spec.task_template.as_ref());
        let networks = task.and_then(|task| task.networks.as_ref()).into_iter().flatten();
        networks
            .filter_map(|network| network.target.as_ref())
            .any(|id| !self.networks.contains_key(id))
    }

    async fn learn_networks(&mut self) -> Result<(), Error> {
        let found = self.docker.list_networks(None::<ListNetworksOptions>).await?;
        self.networks = found
            .into_iter()
            .filter_map(|network| Some((network.id?, network.name?)))
            .collect();
        Ok(())
    }

    fn publish(&mut self) {
        self.known.retain(|_, reading| *reading != Reading::Other);
        let candidates = self.known.values().filter_map(|reading| match reading {
            Reading::Template(read) => Some((**read).clone()),
            Reading::Other => None,
        });
        let previous = Arc::clone(&self.catalogue.borrow());
        let catalogue = Catalogue::resolve(&self.config.namespace, candidates.collect(), Some(&previous));
        skep_discovery::warn_of_invalid(&catalogue, &previous);
        if catalogue != *previous {
            self.catalogue.send_replace(Arc::new(catalogue));
        }
        self.connection.send_if_modified(|connection| {
            let changed = !connection.connected || !connection.listed;
            connection.gained();
            connection.listed = true;
            changed
        });
    }
}

fn service_events() -> EventsOptions {
    let filters = HashMap::from([("type".to_owned(), vec!["service".to_owned()])]);
    let since = Timestamp::now().as_second() - OVERLAP.as_secs().cast_signed();
    EventsOptions {
        since: Some(since.to_string()),
        filters: Some(filters),
        ..Default::default()
    }
}

/// The service that an event is about.
fn concerns(event: EventMessage) -> Option<String> {
    event.actor.and_then(|actor| actor.id)
}
