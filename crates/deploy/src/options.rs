//! What a deploy may be asked for.

use skep_compose::Project;
use std::path::PathBuf;
use std::time::Duration;

/// How a project is brought up.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The Skep namespace that functions belong to where the file names none.
    pub namespace: String,
    /// The port of Skep's call listener on the networks' gateways, for
    /// `SKEP_URL` (DESIGN section 4.2).
    pub call_port: u16,
    /// Skep's control listener, `http://127.0.0.1:8081`; where it answers, a
    /// new template is waited for before the old one goes.
    pub control: Option<String>,
    /// The token of a control listener off loopback.
    pub control_token: Option<String>,
    /// How long a new template may take to come into force.
    pub in_force_timeout: Duration,
    /// How long dependencies may take to become what is waited for;
    /// without it they may take forever, as in Compose.
    pub dependency_timeout: Option<Duration>,
    /// The folder of the docker command's `config.json`, for the accounts at
    /// registries; without it the engine asks for images anonymously.
    pub docker_config: Option<PathBuf>,
    /// Build images even where one of the name is there.
    pub build: bool,
    /// Replace even what did not change.
    pub force_recreate: bool,
    /// Remove containers of services that the file no longer has.
    pub remove_orphans: bool,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            namespace: String::from("default"),
            call_port: 8082,
            control: None,
            control_token: None,
            in_force_timeout: Duration::from_secs(10),
            dependency_timeout: None,
            docker_config: None,
            build: false,
            force_recreate: false,
            remove_orphans: false,
        }
    }
}

/// How a project is taken down.
#[derive(Clone, Debug)]
pub struct DownOptions {
    /// The project's name.
    pub project: String,
    /// Its services; containers of others are orphans. `None` takes
    /// everything that carries the project's label.
    pub services: Option<Vec<String>>,
    /// Remove its named volumes, and the anonymous ones of its containers.
    pub volumes: bool,
    /// Remove orphans too.
    pub remove_orphans: bool,
    /// Instead of each container's own time to stop.
    pub stop_timeout: Option<Duration>,
    /// How long instances may take to leave a network before it is left
    /// behind.
    pub network_timeout: Duration,
}

impl DownOptions {
    /// The services of a loaded project, those that profiles leave out
    /// included; volumes kept.
    pub fn for_project(project: &Project) -> Self {
        let services = project.services.keys().chain(&project.disabled);
        Self {
            services: Some(services.cloned().collect()),
            ..Self::of(&project.name)
        }
    }

    /// Everything of a project, volumes kept.
    pub fn of(project: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            services: None,
            volumes: false,
            remove_orphans: false,
            stop_timeout: None,
            network_timeout: Duration::from_secs(30),
        }
    }
}
