//! What stands in the way.

use bollard::errors::Error;

/// Why Skep isn't on the Swarm, or not off it.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The engine refused or did not answer.
    #[error("the engine, asked to {doing}: {source}")]
    Engine {
        /// What it was asked for.
        doing: String,
        /// What it said.
        source: Error,
    },
    /// No Swarm.
    #[error("this engine is no part of a Swarm; `docker swarm init` makes one, of one node if need be")]
    NoSwarm,
    /// A worker can't say what is to run.
    #[error("this engine is a worker; run this on a manager: {managers}")]
    Worker {
        /// Where managers are.
        managers: String,
    },
    /// Everything would be made, and nothing would run.
    #[error(
        "no manager can run a gateway: {why}; `docker node update --availability active NODE` lets one, \
         `docker node promote NODE` makes another"
    )]
    NoGateway {
        /// Each manager with what is in the way.
        why: String,
    },
    /// Somebody else's.
    #[error(
        "there is a {kind} {name} that `skep install` did not make: rename or remove it, then run this again"
    )]
    Taken {
        /// `service`, `network`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No image of that name anywhere.
    #[error(
        "the image {image} is in no registry that this engine reaches, and not on this node ({said}); push it, \
         name another with --image, or log in and use --registry-auth"
    )]
    NoImage {
        /// Its name.
        image: String,
        /// What the registry said.
        said: String,
    },
    /// No certificates.
    #[error(transparent)]
    Keys(#[from] skep_tls::AuthorityError),
    /// Swarm took an update back.
    #[error("{service} was not updated, Swarm went back to what ran before: {said}")]
    RolledBack {
        /// The service.
        service: String,
        /// What its tasks said.
        said: String,
    },
    /// Not in time.
    #[error(
        "{service} does not run everywhere after {seconds} s: {said}; `docker service ps --no-trunc {service}` shows more"
    )]
    NotRunning {
        /// The service.
        service: String,
        /// How long it was waited for.
        seconds: u64,
        /// What is missing, and what its tasks said.
        said: String,
    },
    /// Something stays.
    #[error("not everything could be removed: {what}")]
    Left {
        /// What, and why.
        what: String,
    },
}

impl InstallError {
    pub(crate) fn engine(doing: impl Into<String>) -> impl FnOnce(Error) -> Self {
        let doing = doing.into();
        move |source| Self::Engine { doing, source }
    }
}

/// Whether the engine's answer has this status (RFC 9110, section 15).
pub(crate) fn is(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}
