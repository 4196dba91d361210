//! Why a deploy stopped.

use std::path::PathBuf;

/// A deploy or a part of it failed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The engine refused or did not answer.
    #[error("the Docker engine could not {doing}")]
    Engine {
        /// What was asked of it.
        doing: String,
        /// Its answer.
        #[source]
        source: bollard::errors::Error,
    },
    /// An image could not be built.
    #[error("{service}: building {image} failed: {message}{}", hint(.message))]
    Build {
        /// The service.
        service: String,
        /// The image.
        image: String,
        /// The builder's last words.
        message: String,
    },
    /// An image could not be pulled.
    #[error("{service}: {image} is not on this engine and could not be pulled: {message}{}", login(.image, .message))]
    Pull {
        /// The service.
        service: String,
        /// The image.
        image: String,
        /// The registry's or engine's answer.
        message: String,
    },
    /// `pull_policy: never`, and no image.
    #[error("{service}: {image} is not on this engine, and pull_policy is never: pull or build it first")]
    NoImage {
        /// The service.
        service: String,
        /// The image.
        image: String,
    },
    /// A file of the build context or the project could not be read.
    #[error("{path} cannot be read", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something external is missing.
    #[error(
        "the external {kind} {name} does not exist: create it with docker {kind} create {name}, or remove external"
    )]
    NoExternal {
        /// `network` or `volume`.
        kind: &'static str,
        /// Its name on the engine.
        name: String,
    },
    /// A dependency did not become what a service waits for.
    #[error("{service} waits for {dependency}, which {reason}")]
    Dependency {
        /// The service that waits.
        service: String,
        /// The service that it waits for.
        dependency: String,
        /// What became of it.
        reason: String,
    },
    /// Skep refused the new template; the old one stays in force.
    #[error("{service}: Skep cannot run the new template: {reasons}; {}", kept(.previous))]
    Invalid {
        /// The service.
        service: String,
        /// Skep's reasons.
        reasons: String,
        /// The template that stays in force.
        previous: Option<String>,
    },
    /// A service could not be brought up since another failed.
    #[error("{service} was not started, since {dependency} failed")]
    Skipped {
        /// The service.
        service: String,
        /// What failed.
        dependency: String,
    },
    /// `network_mode: service:NAME` names one without a running container.
    #[error("{service}: its network_mode names {other}, which has no container")]
    NoPeer {
        /// The service.
        service: String,
        /// The other.
        other: String,
    },
    /// Several services failed.
    #[error("{}", list(.0))]
    Several(Vec<DeployError>),
}

impl DeployError {
    pub(crate) fn engine(doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Engine { doing, source }
    }

    /// The message with every cause, for a person.
    pub fn report(&self) -> String {
        if let Self::Several(errors) = self {
            return errors.iter().map(Self::report).collect::<Vec<_>>().join("\n");
        }
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

fn kept(previous: &Option<String>) -> String {
    match previous {
        Some(name) => format!("{name} stays in force"),
        None => String::from("it was taken away again"),
    }
}

fn hint(message: &str) -> &'static str {
    if message.contains("BuildKit") || message.contains("--mount") {
        "\n  hint: this Dockerfile needs BuildKit: build it with docker buildx build, and name the image"
    } else {
        ""
    }
}

/// Registries that are not the engine's default say little of what is missing.
fn login(image: &str, message: &str) -> String {
    let refused = [
        "unauthorized",
        "authentication required",
        "no basic auth",
        "denied",
    ];
    if refused.iter().any(|word| message.contains(word)) {
        let registry = crate::registry::host_of(image);
        format!("\n  hint: skep deploy uses the accounts of the docker command: docker login {registry}")
    } else {
        String::new()
    }
}

fn list(errors: &[DeployError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
