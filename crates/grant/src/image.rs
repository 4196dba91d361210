//! Names of images, as Docker reads them.

use std::fmt;

use crate::refusal::Refusal;

/// An image's name, written out: `docker.io/library/debian:bookworm-slim`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    repository: String,
    /// `:tag` or `@sha256:…`.
    version: String,
}

impl Image {
    /// Reads a name; one without a tag means `latest`.
    ///
    /// # Errors
    /// It is no name of an image.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
        let fail = || Refusal::malformed(format!("{text:?} is not the name of an image"));
        if text.is_empty() || text.len() > 400 || !text.bytes().all(plain) {
            return Err(fail());
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let colon = rest.rfind(':').filter(|colon| !rest[*colon..].contains('/'));
        let (name, tag) = match colon {
            Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
            None => (rest, None),
        };
        let version = match (digest, tag) {
            (Some(digest), _) => format!("@{digest}"),
            (None, tag) => format!(":{}", tag.unwrap_or("latest")),
        };
        let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
        if name.split('/').any(bad_part) || version.len() < 2 || version[1..].contains(['/', '@']) {
            return Err(fail());
        }
        let first = name.split('/').next().unwrap_or_default();
        let is_host = name.contains('/')
            && (first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()));
        let (_, path) = if is_host {
            name.split_once('/').unwrap_or_default()
        } else {
            ("", name)
        };
        if path.contains(':') {
            return Err(fail());
        }
        let of_hub = name
            .strip_prefix("docker.io/")
            .or_else(|| name.strip_prefix("index.docker.io/"));
        let repository = if let Some(path) = of_hub {
            let library = if path.contains('/') { "" } else { "library/" };
            format!("docker.io/{library}{path}")
        } else if is_host {
            name.to_owned()
        } else if name.contains('/') {
            format!("docker.io/{name}")
        } else {
            format!("docker.io/library/{name}")
        };
        Ok(Self { repository, version })
    }

    /// Whether one of a grant's entries covers it.
    pub fn is_granted(&self, entries: &[String]) -> bool {
        entries.iter().any(|entry| {
            let (entry, any_tag) = match entry.strip_suffix(":*") {
                Some(entry) => (entry, true),
                None => (entry.as_str(), false),
            };
            Self::parse(entry).is_ok_and(|granted| {
                granted.repository == self.repository
                    && (granted.version == self.version || (any_tag && self.version.starts_with(':')))
            })
        })
    }

    /// The repository as Docker shows it: `debian`, `team/tool`, `registry.example.com/tool`.
    pub fn familiar(&self) -> &str {
        let short = self.repository.strip_prefix("docker.io/");
        short.map_or(self.repository.as_str(), |short| {
            short.strip_prefix("library/").unwrap_or(short)
        })
    }

    /// The tag, or the digest.
    pub fn version(&self) -> &str {
        &self.version[1..]
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.familiar(), self.version)
    }
}
