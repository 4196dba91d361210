//! What the gateway asks of a manager: sandbox services, the config of `pause`, the lease. Every change is by the version
//! of what was read.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{ConfigSpec, ServiceSpec};
use bollard::query_parameters::{
    InspectServiceOptions, ListServicesOptions, UpdateConfigOptions, UpdateServiceOptions,
};
use skep_model::{Function, Namespace, Revision, label};
use skep_scale::{Holder, Limits, Seen, Step};

use crate::cluster::Config;
use crate::sandbox::{self, OWNER, PauseConfig};

const GATEWAY: &str = "skep.lease.gateway";
const ADDRESS: &str = "skep.lease.address";
const TERM: &str = "skep.lease.term";

/// A sandbox service as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) spec: ServiceSpec,
    /// For how many instances at once one of its tasks was made.
    pub(crate) slots: Option<u32>,
}

impl Known {
    /// Whether it was made for instances that can't stand side by side. A function of which there is never more than one
    /// has the same service either way.
    pub(crate) fn is_alone(&self, function: &Function) -> bool {
        self.slots == Some(1) && sandbox::is_of(&self.spec, function)
    }
}

/// How a change came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Done,
    /// Another was faster.
    Raced,
}

/// A manager of the Swarm, for one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    docker: Docker,
    namespace: Namespace,
    pause: Option<String>,
    accounts: Arc<HashMap<String, DockerCredentials>>,
}

impl Manager {
    pub(crate) fn new(docker: Docker, namespace: Namespace, config: &Config) -> Self {
        Self {
            docker,
            namespace,
            pause: config.pause.clone(),
            accounts: Arc::new(config.accounts.clone()),
        }
    }

    /// Every sandbox service of the namespace, by its name.
    pub(crate) async fn services(&self) -> Result<HashMap<String, Known>, Error> {
        let labels = vec![
            format!("{}={OWNER}", label::OWNER),
            format!("{}={}", label::NAMESPACE, self.namespace),
            skep_wire::label::SANDBOX_OF.to_owned(),
        ];
        let options = ListServicesOptions {
            filters: Some(HashMap::from([("label".to_owned(), labels)])),
            ..Default::default()
        };
        let found = self.docker.list_services(Some(options)).await?;
        Ok(found.into_iter().filter_map(known).collect())
    }

    /// One service by its name.
    pub(crate) async fn service(&self, name: &str) -> Result<Option<Known>, Error> {
        match self
            .docker
            .inspect_service(name, None::<InspectServiceOptions>)
            .await
        {
            Ok(service) => Ok(known(service).map(|(_, known)| known)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn create(&self, spec: ServiceSpec) -> Result<Change, Error> {
        let account = self.account(&spec);
        raced(self.docker.create_service(spec, account).await.map(drop))
    }

    pub(crate) async fn update(&self, known: &Known, spec: ServiceSpec) -> Result<Change, Error> {
        let options = UpdateServiceOptions {
            version: i32::try_from(known.version).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let account = self.account(&spec);
        raced(
            self.docker
                .update_service(&known.id, spec, options, account)
                .await
                .map(drop),
        )
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<(), Error> {
        match self.docker.delete_service(id).await {
            Err(error) if is_missing(&error) => Ok(()),
            removed => removed,
        }
    }

    /// A function has a task at least.
    pub(crate) async fn begin(
        &self,
        function: &Function,
        pause: &PauseConfig,
        tasks: u32,
    ) -> Result<Change, Failed> {
        let known = self.service(&sandbox::name(function)).await?;
        // What was found out stays true for this revision.
        let alone = known.as_ref().is_some_and(|known| known.is_alone(function));
        let tasks = tasks.min(Limits::of(&function.settings, alone).tasks);
        let spec = sandbox::service(function, pause, tasks, alone).map_err(Failed::Spec)?;
        match known {
            None => Ok(self.create(spec).await?),
            Some(known) => {
                let same = sandbox::definition(&known.spec) == sandbox::definition(&spec);
                if same && sandbox::tasks(&known.spec) >= tasks {
                    return Ok(Change::Done);
                }
                let tasks = sandbox::tasks(&known.spec).max(tasks);
                let mode = Some(sandbox::replicated(tasks));
                Ok(self.update(&known, ServiceSpec { mode, ..spec }).await?)
            }
        }
    }

    /// The config with the pause program, made where there is none.
    pub(crate) async fn pause(&self) -> Result<PauseConfig, Error> {
        let program = skep_pause::program();
        let named = self.pause.clone();
        let name = named.unwrap_or_else(|| format!("skep-pause-{}", Revision::of(&program)));
        if let Some(id) = self.config(&name).await?.map(|(id, ..)| id) {
            return Ok(PauseConfig { id, name });
        }
        let spec = Self::config_spec(&name, "pause", &program, HashMap::new());
        match self.docker.create_config(spec).await {
            Ok(made) => Ok(PauseConfig { id: made.id, name }),
            Err(error) if is_conflict(&error) => {
                let found = self.config(&name).await?;
                found.map(|(id, ..)| PauseConfig { id, name }).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The lease as it stands.
    pub(crate) async fn lease(&self) -> Result<Option<Seen>, Error> {
        let found = self.config(&self.lease_name()).await?;
        Ok(found.map(|(_, version, labels)| Seen {
            holder: labels.get(GATEWAY).map(|gateway| Holder {
                gateway: gateway.clone(),
                address: labels.get(ADDRESS).cloned().unwrap_or_default(),
                term: labels.get(TERM).and_then(|term| term.parse().ok()).unwrap_or(0),
            }),
            version,
        }))
    }

    /// Does a step; [`Change::Raced`] where another was faster.
    pub(crate) async fn step(&self, step: Step) -> Result<Change, Error> {
        let name = self.lease_name();
        let spec = |holder: Holder| {
            let labels = HashMap::from([
                (GATEWAY.to_owned(), holder.gateway),
                (ADDRESS.to_owned(), holder.address),
                (TERM.to_owned(), holder.term.to_string()),
            ]);
            Self::config_spec(&name, "lease", b"Who scales: see the labels.\n", labels)
        };
        match step {
            Step::Wait => Ok(Change::Raced),
            Step::Create(holder) => raced(self.docker.create_config(spec(holder)).await.map(drop)),
            Step::Swap(holder, version) => {
                let options = UpdateConfigOptions {
                    version: i64::try_from(version).unwrap_or(i64::MAX),
                };
                raced(self.docker.update_config(&name, spec(holder), options).await)
            }
        }
    }

    /// Who may pull a service's image, where its registry is one that asks.
    fn account(&self, spec: &ServiceSpec) -> Option<DockerCredentials> {
        let container = spec.task_template.as_ref()?.container_spec.as_ref()?;
        self.accounts.get(registry(container.image.as_deref()?)).cloned()
    }

    fn lease_name(&self) -> String {
        format!("skep-lease-{}", self.namespace)
    }

    fn config_spec(name: &str, part: &str, data: &[u8], mut labels: HashMap<String, String>) -> ConfigSpec {
        labels.insert(label::OWNER.to_owned(), OWNER.to_owned());
        labels.insert(skep_wire::PART.to_owned(), part.to_owned());
        ConfigSpec {
            name: Some(name.to_owned()),
            labels: Some(labels),
            data: Some(STANDARD.encode(data)),
            templating: None,
        }
    }

    async fn config(&self, name: &str) -> Result<Option<(String, u64, HashMap<String, String>)>, Error> {
        match self.docker.inspect_config(name).await {
            Ok(config) => {
                let version = config
                    .version
                    .and_then(|version| version.index)
                    .unwrap_or_default();
                let labels = config.spec.and_then(|spec| spec.labels).unwrap_or_default();
                Ok(config.id.map(|id| (id, version, labels)))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a function has no task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("its service can't be read back: {0}")]
    Spec(String),
    #[error(transparent)]
    Engine(#[from] Error),
}

fn known(service: bollard::models::Service) -> Option<(String, Known)> {
    let spec = service.spec?;
    let name = spec.name.clone()?;
    let known = Known {
        id: service.id?,
        version: service
            .version
            .and_then(|version| version.index)
            .unwrap_or_default(),
        slots: sandbox::slots(&spec),
        spec,
    };
    Some((name, known))
}

fn raced(changed: Result<(), Error>) -> Result<Change, Error> {
    match changed {
        Ok(()) => Ok(Change::Done),
        Err(error) if is_conflict(&error) || is_missing(&error) => Ok(Change::Raced),
        Err(error) => Err(error),
    }
}

/// The registry of an image; Docker's own where its name says none.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// The name is taken, or the version is an older one, for which engines have no status of its own.
fn is_conflict(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 409, .. } => true,
        Error::DockerResponseServerError { message, .. } => message.contains("out of sequence"),
        _ => false,
    }
}
