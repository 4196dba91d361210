//! Names of functions and namespaces: DNS labels (RFC 1123, section 2.1), so that they can stand in a host name,
//! a path, a container's name and a metric's label without escaping.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest a DNS label may be, in bytes (RFC 1035, section 2.3.4).
pub const MAX_LENGTH: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("is empty; a name has 1 to 63 characters")]
    Empty,
    /// More than [`MAX_LENGTH`] bytes.
    #[error("has {0} characters; at most 63 are allowed")]
    TooLong(usize),
    /// A character that no DNS label may have.
    #[error("has the character {0:?}; only a-z, 0-9 and '-' are allowed")]
    Character(char),
    /// A hyphen where a letter or a digit must stand.
    #[error("starts or ends with '-'; a name starts and ends with a letter or a digit")]
    Hyphen,
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(NameError::Character(bad));
    }
    if text.len() > MAX_LENGTH {
        return Err(NameError::TooLong(text.len()));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen);
    }
    Ok(())
}

macro_rules! dns_label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        // Looking a name up in a map needs no new name: both compare, order and hash as their text.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

dns_label!(
    /// The name of a function.
    FunctionName
);
dns_label!(
    /// Which Skep manages a function; one `skep serve` manages one namespace.
    Namespace
);

impl Default for Namespace {
    fn default() -> Self {
        Self("default".into())
    }
}
