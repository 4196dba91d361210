//! Who a member is: its certificate, its key, and the authority by which it knows the others.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What was handed over is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It isn't PEM, or holds something else.
    #[error("the {what} can't be read as PEM: {source}")]
    Pem {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The authority's certificate is none.
    #[error("the authority's certificate is not one: {0}")]
    Authority(#[source] rustls::Error),
    /// Certificate and key don't belong together.
    #[error("the certificate and its key can't be used: {0}")]
    Key(#[source] rustls::Error),
    /// The name of the others is none.
    #[error("{0:?} is not a name that a certificate may carry")]
    Name(String),
}

/// A member's own certificate, its key, and the authority's certificate.
#[derive(Clone)]
pub struct Identity {
    pub(crate) authority: Arc<RootCertStore>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Reads the three, each PEM.
    ///
    /// # Errors
    /// Which of them can't be read.
    pub fn from_pem(authority: &str, certificate: &str, key: &str) -> Result<Self, IdentityError> {
        let unreadable = |what| move |source| IdentityError::Pem { what, source };
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.as_bytes());
        let root = root.map_err(unreadable("authority's certificate"))?;
        roots.add(root).map_err(IdentityError::Authority)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        Ok(Self {
            authority: Arc::new(roots),
            chain: chain.map_err(unreadable("certificate"))?,
            key: Arc::new(key.map_err(unreadable("key"))?),
        })
    }
}

impl Identity {
    /// Connections to servers that are known by their hosts' names, and know this member by its certificate.
    ///
    /// # Errors
    /// Certificate and key don't belong together.
    pub fn client(&self) -> Result<rustls::ClientConfig, IdentityError> {
        let versions = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Key)?;
        versions
            .with_root_certificates(self.authority.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(IdentityError::Key)
    }
}

/// The one set of algorithms that members use.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
