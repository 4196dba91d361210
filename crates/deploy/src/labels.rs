//! Compose's labels, as `docker compose` writes and reads them, and Skep's.

pub(crate) const PROJECT: &str = "com.docker.compose.project";
pub(crate) const SERVICE: &str = "com.docker.compose.service";
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
pub(crate) const ONE_OFF: &str = "com.docker.compose.oneoff";
pub(crate) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
pub(crate) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
pub(crate) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub(crate) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
pub(crate) const IMAGE: &str = "com.docker.compose.image";
pub(crate) const VERSION: &str = "com.docker.compose.version";
pub(crate) const NETWORK: &str = "com.docker.compose.network";
pub(crate) const VOLUME: &str = "com.docker.compose.volume";

/// The Compose whose labels these are.
pub(crate) const COMPOSE_VERSION: &str = "2.26.1";

pub(crate) const FUNCTION: &str = "skep.function";
pub(crate) const NAMESPACE: &str = "skep.namespace";
/// On ordinary services, so that Skep opens its call listener on their networks.
pub(crate) const ORDINARY: &str = "skep.service";
pub(crate) const OWNER: &str = "skep.owner";

/// Where functions are called, given to every container of a project.
pub(crate) const URL_VARIABLE: &str = "SKEP_URL";
