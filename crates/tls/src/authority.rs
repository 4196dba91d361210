//! The cluster's own authority: it certifies members by their names, and nobody else believes it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("a certificate can't be made: {0}")]
pub struct AuthorityError(#[from] rcgen::Error);

/// A member's certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Member {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: String,
}

/// An authority: whoever has its key makes members.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, with a key of its own.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = parameters().self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(parameters(), key),
        })
    }

    /// The one whose certificate and key these are.
    ///
    /// # Errors
    /// The key can't be read.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        Ok(Self {
            certificate: certificate.to_owned(),
            // Every authority of Skep's says the same of itself, so that only the key has to be read.
            issuer: Issuer::new(parameters(), KeyPair::from_pem(key)?),
        })
    }

    /// Its certificate, by which members know each other, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, as PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Makes a member with this name.
    ///
    /// # Errors
    /// The name is none, or the system gives no random numbers.
    pub fn member(&self, name: &str) -> Result<Member, AuthorityError> {
        self.member_of(name, &[name.to_owned()])
    }

    /// Makes a member that is known by several hosts' names.
    ///
    /// # Errors
    /// One of them is no name, or the system gives no random numbers.
    pub fn member_of(&self, name: &str, hosts: &[String]) -> Result<Member, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut member = CertificateParams::new(hosts)?;
        member.distinguished_name = named(name);
        member.use_authority_key_identifier_extension = true;
        member.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // A gateway is a server too, to other gateways.
        member.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = member.signed_by(&key, &self.issuer)?.pem();
        Ok(Member {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named("Skep cluster authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
