//! Every environment variable that `skep` reads, in one place. `docs/reference/environment.md` is made from it.

use std::path::PathBuf;

/// Where requests are taken.
pub(crate) const LISTEN: &str = "SKEP_LISTEN";
/// The control listener: its address for `serve`, its URL for everything else.
pub(crate) const CONTROL: &str = "SKEP_CONTROL";
/// Further names under which the control listener is known.
pub(crate) const CONTROL_NAMES: &str = "SKEP_CONTROL_NAMES";
/// The file with the control listener's token.
pub(crate) const CONTROL_TOKEN_FILE: &str = "SKEP_CONTROL_TOKEN_FILE";
/// The port of the call listeners.
pub(crate) const CALL_PORT: &str = "SKEP_CALL_PORT";
/// The namespace.
pub(crate) const NAMESPACE: &str = "SKEP_NAMESPACE";
/// Where records, logs and accepted invocations are kept.
pub(crate) const DATA_DIR: &str = "SKEP_DATA_DIR";
/// The engine, as for the docker command.
pub(crate) const DOCKER_HOST: &str = "DOCKER_HOST";
/// What `skep.engine=auto` means.
pub(crate) const ENGINE: &str = "SKEP_ENGINE";
/// The proxies whose `Forwarded` is believed.
pub(crate) const TRUSTED_PROXIES: &str = "SKEP_TRUSTED_PROXIES";
/// The memory that instances may have together.
pub(crate) const MEMORY_BUDGET: &str = "SKEP_MEMORY_BUDGET";
/// The largest request body.
pub(crate) const MAX_BODY: &str = "SKEP_MAX_BODY";
/// How long a shutdown waits for work that is running.
pub(crate) const DRAIN_TIMEOUT: &str = "SKEP_DRAIN_TIMEOUT";
/// How often Docker is listed anew.
pub(crate) const RELIST: &str = "SKEP_RELIST";
/// How long records and logs are kept.
pub(crate) const KEEP_FOR: &str = "SKEP_KEEP_FOR";
/// How much disk records, logs and results may take.
pub(crate) const KEEP_BYTES: &str = "SKEP_KEEP_BYTES";
/// How long flattened layers that nobody needs are kept.
pub(crate) const KEEP_LAYERS: &str = "SKEP_KEEP_LAYERS";
/// Where gateways on a Swarm keep what they accept.
pub(crate) const QUEUE: &str = "SKEP_QUEUE";
/// The image of the queue's servers.
pub(crate) const NATS_IMAGE: &str = "SKEP_NATS_IMAGE";
/// What is logged.
pub(crate) const LOG: &str = "SKEP_LOG";
/// How it is logged.
pub(crate) const LOG_FORMAT: &str = "SKEP_LOG_FORMAT";
/// Where the docker command's own configuration is.
pub(crate) const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// No colours, as everywhere.
pub(crate) const NO_COLOR: &str = "NO_COLOR";

/// Those that belong to no flag, with what they mean; the flags' own help explains the others.
pub(crate) const WITHOUT_FLAG: &[(&str, &str)] = &[
    (NO_COLOR, "set to anything: no colours on the terminal"),
    (
        DOCKER_CONFIG,
        "the folder with the docker command's config.json: `skep deploy` takes the accounts at registries from it, and \
         `skep doctor` looks at its prune filters",
    ),
    (
        "COMPOSE_PROFILES",
        "profiles that `skep deploy` switches on, with commas",
    ),
    (
        "COMPOSE_PROJECT_NAME",
        "the project's name for `skep deploy`, where --project does not say it",
    ),
    (
        "DOCKER_TLS_VERIFY",
        "set to anything: refused with a clear sentence, since Skep speaks no TLS to the engine",
    ),
];

/// Where the docker command has its configuration.
pub(crate) fn docker_config() -> Option<PathBuf> {
    let named = std::env::var_os(DOCKER_CONFIG)
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from);
    named.or_else(|| std::env::home_dir().map(|home| home.join(".docker")))
}
