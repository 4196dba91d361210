//! From a service to what the engine is asked to create.

mod host;
mod network;

pub(crate) use network::endpoints;

use crate::engine;
use crate::image::Image;
use crate::labels;
use crate::options::UpOptions;
use bollard::models::{ContainerCreateBody, HealthConfig, NetworkingConfig};
use sha2::{Digest, Sha256};
use skep_compose::{Healthcheck, Probe, Project, Service};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A service with everything that decides what its containers are.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) service: Service,
    pub(crate) image: Image,
    /// Digest of the configuration, Compose's `config-hash`.
    pub(crate) hash: String,
}

/// What a new container takes over or refers to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) number: u32,
    /// Anonymous volumes of the container that this one replaces, by their
    /// path.
    pub(crate) inherited: BTreeMap<String, String>,
    /// Whether all networks can be named at creation (API 1.44).
    pub(crate) all_networks: bool,
}

impl Plan {
    /// Completes a service with what Skep gives to each: `SKEP_URL` and its
    /// namespace.
    pub(crate) fn new(
        project: &Project,
        service: &Service,
        image: Image,
        gateways: &BTreeMap<String, String>,
        options: &UpOptions,
    ) -> Self {
        let mut service = service.clone();
        if service.function.is_some() {
            if options.namespace != "default" {
                let namespace = options.namespace.clone();
                service
                    .labels
                    .entry(labels::NAMESPACE.to_owned())
                    .or_insert(namespace);
            }
        } else {
            let own = [
                (labels::NAMESPACE, options.namespace.clone()),
                (labels::ORDINARY, service.name.clone()),
            ];
            service
                .labels
                .extend(own.map(|(label, value)| (label.to_owned(), value)));
            let gateway = service
                .networks
                .first()
                .and_then(|network| gateways.get(&network.network));
            if let Some(gateway) = gateway {
                service
                    .environment
                    .entry(labels::URL_VARIABLE.to_owned())
                    .or_insert_with(|| format!("http://{gateway}:{}", options.call_port));
            }
        }
        let mut plan = Self {
            hash: String::new(),
            service,
            image,
        };
        plan.rehash(project, None);
        plan
    }

    /// `network_mode: service:NAME`, which becomes that service's container.
    pub(crate) fn join(&mut self, project: &Project, container: &str) {
        self.service.network_mode = Some(format!("container:{container}"));
        self.rehash(project, Some(container));
    }

    fn rehash(&mut self, project: &Project, peer: Option<&str>) {
        let service = &self.service;
        let networks: BTreeMap<_, _> = service
            .networks
            .iter()
            .map(|network| (&network.network, network_name(project, &network.network)))
            .collect();
        let volumes: BTreeMap<_, _> = project
            .volumes
            .iter()
            .map(|(key, volume)| (key, &volume.name))
            .collect();
        let described = serde_json::json!([service, networks, volumes, self.image.name, peer]);
        let digest = Sha256::digest(described.to_string().as_bytes());
        self.hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    }

    /// Compose's name for one of its containers.
    pub(crate) fn container_name(&self, project: &Project, number: u32) -> String {
        self.service
            .container_name
            .clone()
            .unwrap_or_else(|| format!("{}-{}-{number}", project.name, self.service.name))
    }

    /// The request that creates a container.
    pub(crate) fn request(&self, project: &Project, place: &Place) -> ContainerCreateBody {
        let service = &self.service;
        let mut endpoints: Vec<_> = endpoints(project, service, &place.name);
        if !place.all_networks {
            endpoints.truncate(1);
        }
        let exposed: Vec<String> = service
            .ports
            .iter()
            .map(|port| format!("{}/{}", port.target, port.protocol))
            .chain(service.expose.iter().cloned())
            .collect();
        ContainerCreateBody {
            image: Some(self.image.name.clone()),
            hostname: service.hostname.clone(),
            domainname: service.domainname.clone(),
            user: service.user.clone(),
            tty: Some(service.tty),
            open_stdin: Some(service.stdin_open),
            exposed_ports: some(exposed),
            env: some(
                service
                    .environment
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            cmd: service.command.clone(),
            entrypoint: service.entrypoint.clone().map(|words| {
                // The engine takes an empty list for none at all.
                if words.is_empty() {
                    vec![String::new()]
                } else {
                    words
                }
            }),
            healthcheck: service.healthcheck.as_ref().map(health),
            working_dir: service.working_dir.clone(),
            labels: Some(self.labels(project, place)),
            stop_signal: service.stop_signal.clone(),
            stop_timeout: service.stop_grace_period.map(whole_seconds),
            host_config: Some(host::host_config(project, self, place)),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(endpoints.into_iter().collect()),
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn labels(&self, project: &Project, place: &Place) -> HashMap<String, String> {
        let files: Vec<_> = project.files.iter().map(|file| file.to_string_lossy()).collect();
        let dependencies: Vec<String> = self
            .service
            .depends_on
            .iter()
            .map(|(name, dependency)| {
                let condition = dependency.condition.as_str();
                format!("{name}:{condition}:{}", dependency.restart)
            })
            .collect();
        let own = [
            (labels::PROJECT, project.name.clone()),
            (labels::SERVICE, self.service.name.clone()),
            (labels::NUMBER, place.number.to_string()),
            (labels::ONE_OFF, String::from("False")),
            (labels::CONFIG_HASH, self.hash.clone()),
            (labels::CONFIG_FILES, files.join(",")),
            (
                labels::WORKING_DIR,
                project.directory.to_string_lossy().into_owned(),
            ),
            (labels::DEPENDS_ON, dependencies.join(",")),
            (labels::IMAGE, self.image.id.clone()),
            (labels::VERSION, labels::COMPOSE_VERSION.to_owned()),
        ];
        self.service
            .labels
            .iter()
            .map(|(label, value)| (label.clone(), value.clone()))
            .chain(own.map(|(label, value)| (label.to_owned(), value)))
            .collect()
    }
}

/// Whether this engine takes several networks at creation.
pub(crate) fn takes_all_networks(docker: &bollard::Docker) -> bool {
    let version = docker.client_version();
    (version.major_version, version.minor_version) >= engine::ALL_NETWORKS
}

/// The engine's name for a network of the file.
pub(crate) fn network_name(project: &Project, key: &str) -> String {
    project
        .networks
        .get(key)
        .map_or_else(|| key.to_owned(), |network| network.name.clone())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn health(health: &Healthcheck) -> HealthConfig {
    let nanoseconds =
        |time: Option<Duration>| time.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    HealthConfig {
        test: health.test.as_ref().map(|test| match test {
            Probe::Disabled => vec![String::from("NONE")],
            Probe::Command(words) => words.clone(),
        }),
        interval: nanoseconds(health.interval),
        timeout: nanoseconds(health.timeout),
        retries: health
            .retries
            .map(|retries| i64::try_from(retries).unwrap_or(i64::MAX)),
        start_period: nanoseconds(health.start_period),
        start_interval: nanoseconds(health.start_interval),
    }
}

/// The engine counts in whole seconds; nothing gets less than it asked for.
fn whole_seconds(time: Duration) -> i64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
