//! Connecting to a member, and what is kept of the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::identity::{Identity, IdentityError, provider};

/// How long a member may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a silent connection is tried, and how long the answer may take.
const BEAT: Duration = Duration::from_secs(2);
const BEAT_PATIENCE: Duration = Duration::from_secs(3);
/// What may be on its way in one stream. The connection as a whole has no bound of its own, so that one slow reader
/// never holds up the others.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;
pub(crate) const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// ALPN's names of the two protocols (RFC 7301).
pub(crate) const HTTP2: &[u8] = b"h2";
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// A request's body on its way to a member.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Any body as such a one.
pub fn body<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody accepts there.
    #[error("{address} can't be connected to: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the kernel, or TLS, said.
        source: std::io::Error,
    },
    /// Nobody answers there in time.
    #[error("{0} does not answer")]
    Silent(SocketAddr),
    /// It speaks, but not this.
    #[error("{address} does not speak as a member does: {source}")]
    Protocol {
        /// Where.
        address: SocketAddr,
        /// What is wrong.
        source: hyper::Error,
    },
}

/// Connects to members of one name. A clone is the same.
#[derive(Debug, Clone)]
pub struct Dialer {
    multiplexed: Arc<ClientConfig>,
    upgradable: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Dialer {
    /// As this member, to members with this name.
    ///
    /// # Errors
    /// The identity or the name can't be used.
    pub fn new(identity: &Identity, name: &str) -> Result<Self, IdentityError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| IdentityError::Name(name.to_owned()))?;
        let config = |protocol: &[u8]| {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(IdentityError::Key)?
                .with_root_certificates(identity.authority.clone())
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(IdentityError::Key)?;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config))
        };
        Ok(Self {
            multiplexed: config(HTTP2)?,
            upgradable: config(HTTP1)?,
            name,
        })
    }

    /// A connection for any number of requests at once. Silence on it is tried, so that it ends within a few seconds
    /// of its member.
    ///
    /// # Errors
    /// There is no such member.
    pub async fn line(&self, address: SocketAddr) -> Result<Line, DialError> {
        let stream = self.connect(&self.multiplexed, address).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(BEAT)
            .keep_alive_timeout(BEAT_PATIENCE)
            .keep_alive_while_idle(true);
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| DialError::Protocol { address, source })?;
        Ok(Line {
            sender,
            driver: Arc::new(AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%address, %error, "a connection to a member broke");
                }
            }))),
        })
    }

    /// A connection for one request that may be upgraded (RFC 9110, section 7.8).
    ///
    /// # Errors
    /// There is no such member.
    pub async fn upgradable(&self, address: SocketAddr) -> Result<Upgradable, DialError> {
        let stream = self.connect(&self.upgradable, address).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| DialError::Protocol { address, source })?;
        Ok(Upgradable {
            sender,
            driver: AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = connection.with_upgrades().await {
                    tracing::debug!(%address, %error, "an upgradable connection to a member broke");
                }
            })),
        })
    }

    async fn connect(
        &self,
        config: &Arc<ClientConfig>,
        address: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(config.clone())
                .connect(self.name.clone(), stream)
                .await
        };
        match timeout(PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(|source| DialError::Connect { address, source }),
            Err(_) => Err(DialError::Silent(address)),
        }
    }
}

/// A multiplexed connection. A clone is the same one; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Line {
    sender: http2::SendRequest<Body>,
    driver: Arc<AbortOnDropHandle<()>>,
}

impl Line {
    /// Sends a request; gives the answer's head. Dropping the future or the answer's body takes the request back.
    ///
    /// # Errors
    /// The connection broke. Where the answer to [`hyper::Error::is_canceled`] is yes, the request was not sent.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        self.sender.clone().send_request(request).await
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.driver.is_finished()
    }
}

/// A connection for one request.
#[derive(Debug)]
pub struct Upgradable {
    sender: http1::SendRequest<Body>,
    /// It lives as long as the answer, or what the connection was upgraded to.
    driver: AbortOnDropHandle<()>,
}

impl Upgradable {
    /// Sends the request; gives the answer, and what ends when the connection does.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(
        mut self,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), hyper::Error> {
        let response = self.sender.send_request(request).await?;
        Ok((response, self.driver))
    }
}
