//! What a function may start through its Docker socket: `skep.spawn` and its companions, read.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The memory of all live children together, unless `skep.spawn.memory` says otherwise.
const MEMORY: u64 = 512 << 20;

/// The grant that `skep.spawn` gives. Each field below the first is the label `skep.spawn.` and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spawn {
    /// `skep.spawn`: names of functions and of images, as they were written.
    pub may_start: Vec<String>,
    /// Children of the function at once.
    pub max: u32,
    /// Children in all for one invocation, or for one instance that serves several.
    pub total: u64,
    /// How many generations: with 1 a child has no socket of its own.
    pub depth: u32,
    /// Bytes of memory of all live children together.
    pub memory: u64,
    /// Billionths of a CPU of all live children together, as Docker counts.
    pub nano_cpus: u64,
    /// How long a child may exist, from its creation.
    pub life: Duration,
    /// Networks that children may name.
    pub networks: Vec<String>,
    /// Named volumes that children may mount.
    pub volumes: Vec<String>,
    /// Ports of the host that children may publish on.
    pub ports: Vec<PortRange>,
}

impl Default for Spawn {
    fn default() -> Self {
        Self {
            may_start: Vec::new(),
            max: 8,
            total: 100,
            depth: 1,
            memory: MEMORY,
            nano_cpus: 1_000_000_000,
            life: Duration::from_secs(3600),
            networks: Vec::new(),
            volumes: Vec::new(),
            ports: Vec::new(),
        }
    }
}

/// Ports of the host, both ends included. 0 is a port that Docker chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl PortRange {
    /// Whether a port is one of these.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The words between commas, none of them empty or there twice.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(',').map(str::trim) {
        if word.is_empty() {
            return Err("has an empty place between commas".to_owned());
        }
        if words.iter().any(|known| known == word) {
            return Err(format!("{word} is there twice"));
        }
        words.push(word.to_owned());
    }
    Ok(words)
}

/// Reads `skep.spawn`: functions (`resize`) and images (`debian:bookworm-slim`, `registry.example.com/team/tool:1`,
/// `debian:*` for any tag).
///
/// # Errors
/// A sentence that says what is allowed.
pub(crate) fn may_start(text: &str) -> Result<Vec<String>, String> {
    let words = words(text)?;
    for word in &words {
        let body = word.strip_suffix(":*").unwrap_or(word);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
        if !body.bytes().all(plain) || !body.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(format!(
                "{word} is neither a function's name nor an image's, such as debian:bookworm-slim"
            ));
        }
    }
    Ok(words)
}

/// Reads names of networks or volumes.
///
/// # Errors
/// A sentence that says what is allowed.
pub(crate) fn names(text: &str) -> Result<Vec<String>, String> {
    let words = words(text)?;
    for word in &words {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !word.bytes().all(plain) || !word.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(format!("{word} is not a name as Docker takes it"));
        }
        if matches!(word.as_str(), "host" | "none" | "default") {
            return Err(format!("{word} can't be granted"));
        }
    }
    Ok(words)
}

/// Reads ports: `8000-8010,9000`.
///
/// # Errors
/// A sentence that says what is allowed.
pub(crate) fn ports(text: &str) -> Result<Vec<PortRange>, String> {
    let fail =
        |word: &str| format!("{word} is no port of the host, such as 9000, 8000-8010, or 0 for any free one");
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    words(text)?
        .iter()
        .map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last && (first > 0 || last == 0) => {
                    Ok(PortRange { first, last })
                }
                _ => Err(fail(word)),
            }
        })
        .collect()
}

/// Reads an amount of CPUs as `docker run --cpus` does: `2`, `0.5`.
///
/// # Errors
/// A sentence that says what is allowed.
pub(crate) fn cpus(text: &str) -> Result<u64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match text.parse::<f64>() {
        Ok(amount) if plain && (0.01..=4096.0).contains(&amount) => Ok((amount * 1e9).round() as u64),
        _ => Err("must be an amount of CPUs from 0.01, such as 2 or 0.5".to_owned()),
    }
}
