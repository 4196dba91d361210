//! The answers that say that nothing of a function ran.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};

/// The field of an answer that was given before anything of the function ran.
pub const NOT_STARTED: HeaderName = HeaderName::from_static("skep-not-started");

/// The field of an answer that is Skep's own and not the function's: the problem's code. A gateway takes it off.
pub const PROBLEM: HeaderName = HeaderName::from_static("skep-problem");

/// Why nothing ran. Only such work may be given to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStarted {
    /// Every slot of the sandbox is taken.
    Full,
    /// The sandbox takes nothing more: its task is being ended.
    Draining,
    /// There is no such sandbox.
    Unknown,
}

impl NotStarted {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Unknown => "unknown",
        }
    }

    /// The value of [`NOT_STARTED`].
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NotStarted {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Full, Self::Draining, Self::Unknown]
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(())
    }
}
