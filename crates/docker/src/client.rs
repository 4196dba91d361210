//! Reaching the engine: one way for every part of Skep, with an error that says what to do.

use std::io;
use std::path::Path;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::net::{TcpStream, UnixStream};

/// Where Docker's socket is when nobody says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How long one question to the engine may take before it counts as not answering, in seconds.
pub(crate) const TIMEOUT_SECONDS: u64 = 20;

/// Why the engine can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is of a kind that Skep doesn't speak.
    #[error(
        "the engine's address {0:?} is not understood; use unix:///path/to/docker.sock or tcp://host:port"
    )]
    Address(String),
    /// TLS was asked for.
    #[error(
        "DOCKER_TLS_VERIFY is set, and Skep doesn't speak TLS to the engine; \
         run Skep on the engine's own host with its Unix socket"
    )]
    Tls,
    /// No socket there.
    #[error("no Docker engine listens at {0}; start Docker (systemctl start docker), or set DOCKER_HOST")]
    NotRunning(String),
    /// The socket may not be used by this user.
    #[error("no permission to use {0}; run as root, or add this user to the group docker and log in again")]
    Permission(String),
    /// Something answers, and not as an engine does.
    #[error("the engine at {address} did not answer as Docker does; check `docker version`")]
    NoAnswer {
        /// The address that was asked.
        address: String,
        /// What went wrong.
        #[source]
        source: bollard::errors::Error,
    },
    /// The connection can't be made.
    #[error("the engine at {address} can't be reached")]
    Unreachable {
        /// The address that was asked.
        address: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// The engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket's path.
    Unix(String),
    /// A host and a port, without TLS.
    Tcp(String),
}

impl Endpoint {
    /// Reads an address; without one, `DOCKER_HOST` or [`DEFAULT_HOST`].
    ///
    /// # Errors
    /// [`ConnectError::Address`] or [`ConnectError::Tls`].
    pub fn read(docker_host: Option<&str>) -> Result<Self, ConnectError> {
        let variable = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let text = docker_host
            .map(str::to_owned)
            .or(variable)
            .unwrap_or_else(|| DEFAULT_HOST.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Self::Unix(path.to_owned()));
        }
        let Some(address) = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("http://"))
        else {
            return Err(ConnectError::Address(text));
        };
        if std::env::var("DOCKER_TLS_VERIFY").is_ok_and(|value| !value.is_empty()) {
            return Err(ConnectError::Tls);
        }
        Ok(Self::Tcp(address.trim_end_matches('/').to_owned()))
    }

    /// The address as a person writes it.
    pub fn address(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix://{path}"),
            Self::Tcp(address) => format!("tcp://{address}"),
        }
    }

    fn explain(&self, source: io::Error) -> ConnectError {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ConnectError::NotRunning(self.address())
            }
            io::ErrorKind::PermissionDenied => ConnectError::Permission(self.address()),
            _ => ConnectError::Unreachable {
                address: self.address(),
                source,
            },
        }
    }

    async fn probe(&self) -> Result<(), ConnectError> {
        match self {
            Self::Unix(path) => UnixStream::connect(Path::new(path)).await.map(drop),
            Self::Tcp(address) => TcpStream::connect(address).await.map(drop),
        }
        .map_err(|error| self.explain(error))
    }

    fn client(&self) -> Result<Docker, bollard::errors::Error> {
        match self {
            Self::Unix(path) => Docker::connect_with_unix(path, TIMEOUT_SECONDS, API_DEFAULT_VERSION),
            Self::Tcp(address) => Docker::connect_with_http(address, TIMEOUT_SECONDS, API_DEFAULT_VERSION),
        }
    }
}

/// Connects to the engine and agrees on an API version with it. Without an address, `DOCKER_HOST` or the usual
/// socket is used.
///
/// # Errors
/// Why it can't be reached, and what to do.
pub async fn connect_client(docker_host: Option<&str>) -> Result<Docker, ConnectError> {
    let endpoint = Endpoint::read(docker_host)?;
    endpoint.probe().await?;
    let no_answer = |source| ConnectError::NoAnswer {
        address: endpoint.address(),
        source,
    };
    endpoint
        .client()
        .map_err(no_answer)?
        .negotiate_version()
        .await
        .map_err(no_answer)
}
