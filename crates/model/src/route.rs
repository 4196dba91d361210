//! Where on the public listener a function is found: a path prefix, a host, or both.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host, a path prefix, or a host and a prefix. At least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Route {
    /// The host in lower case, without a port; `None` matches every host.
    pub host: Option<String>,
    /// The prefix, starting with `/`, without a `/` at its end and [normalised](normalise); the root is the
    /// empty text.
    pub prefix: String,
}

/// Writes a path so that two that mean the same are the same text (RFC 3986, section 6.2.2): percent-encoded
/// letters, digits, `-`, `.`, `_` and `~` stand for themselves, other encodings have upper-case digits.
///
/// `/` is neither made nor taken away, so the segments stay the same ones; `.` and `..` are not resolved, and an
/// encoding that is none is left as it is.
pub fn normalise(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        let digits = rest
            .get(at + 1..at + 3)
            .filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            Some(byte) => {
                normal.push_str(&format!("%{byte:02X}"));
                rest = &rest[at + 3..];
            }
            None => {
                normal.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    normal.push_str(rest);
    Cow::Owned(normal)
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the route {text:?} {reason}")]
pub struct RouteError {
    text: String,
    reason: &'static str,
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let fail = |reason| RouteError {
            text: text.to_owned(),
            reason,
        };
        let (host, path) = match text.find('/') {
            Some(0) => (None, text),
            Some(slash) => (Some(&text[..slash]), &text[slash..]),
            None => (Some(text), ""),
        };
        if let Some(host) = host {
            check_host(host).map_err(fail)?;
        }
        let prefix = normalise(path.strip_suffix('/').unwrap_or(path));
        check_prefix(&prefix).map_err(fail)?;
        if host.is_none() && path.is_empty() {
            return Err(fail("is empty; write a path such as /shop, a host, or host/path"));
        }
        Ok(Self {
            host: host.map(str::to_ascii_lowercase),
            prefix: prefix.into_owned(),
        })
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("is empty; write a path such as /shop, a host, or host/path");
    }
    if host.contains(':') {
        return Err("names a port; a host stands alone, since the listener's port is the gateway's");
    }
    if host.len() > 253 || host.split('.').any(|label| !is_host_label(label)) {
        return Err("has no valid host before its path; write a path with a leading '/', or a host name");
    }
    Ok(())
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    if prefix
        .split('/')
        .skip(1)
        .any(|segment| segment.is_empty() || segment == "." || segment == "..")
    {
        return Err("has an empty segment, '.' or '..' in its path");
    }
    if prefix.split('/').nth(1) == Some("_skep") {
        return Err("begins with /_skep, which is Skep's own");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()+;=:@%".contains(&b);
    if !prefix.bytes().all(allowed) {
        return Err("has a character in its path that must be percent-encoded");
    }
    let encodings = prefix.split('%').skip(1);
    if !encodings
        .into_iter()
        .all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
    {
        return Err(
            "has a '%' in its path without two hexadecimal digits after it; write %25 for the character itself",
        );
    }
    Ok(())
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("");
        match (host, self.prefix.as_str()) {
            ("", "") => f.write_str("/"),
            (host, prefix) => write!(f, "{host}{prefix}"),
        }
    }
}

impl TryFrom<String> for Route {
    type Error = RouteError;
    fn try_from(text: String) -> Result<Self, RouteError> {
        text.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> String {
        route.to_string()
    }
}
