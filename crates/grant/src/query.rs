//! The query of a request, by what each endpoint knows.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::refusal::Refusal;

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a parameter may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `1`, `true`, `0`, `false`, in any case, or nothing.
    Flag,
    /// A whole number, negative ones included.
    Number,
    /// A time: seconds with or without a fraction, or RFC 3339.
    Time,
    /// One of a few plain words: letters, digits, `-`, `_`, `.`, `/`, `,`.
    Word,
    /// Any text.
    Text,
}

/// Known parameters with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    values: BTreeMap<&'static str, String>,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// A parameter that is not known (unless `lenient`, and then it is left out), stands twice, or says what its kind
    /// can't be.
    pub fn parse(
        text: Option<&str>,
        known: &'static [(&'static str, Kind)],
        lenient: bool,
    ) -> Result<Self, Refusal> {
        let mut values = BTreeMap::new();
        for pair in text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let Some((name, kind)) = known.iter().find(|(known, _)| *known == name) else {
                if lenient {
                    continue;
                }
                return Err(Refusal::forbidden(format!(
                    "the parameter {name:?} is not known to this socket here"
                )));
            };
            if !kind.allows(&value) {
                return Err(Refusal::malformed(format!(
                    "the parameter {name}={value:?} can't be read"
                )));
            }
            if values.insert(*name, value).is_some() {
                return Err(Refusal::malformed(format!("the parameter {name} is there twice")));
            }
        }
        Ok(Self { values })
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether a flag is set, as the daemon reads flags.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            !matches!(
                value.to_ascii_lowercase().as_str(),
                "" | "0" | "no" | "false" | "none"
            )
        })
    }

    /// Sets a parameter.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.values.insert(name, value);
    }

    /// Takes a parameter out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// As the daemon takes it: with its `?`, or nothing.
    pub fn written(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let pairs: Vec<String> = self
            .values
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        if pairs.is_empty() {
            String::new()
        } else {
            format!("?{}", pairs.join("&"))
        }
    }
}

impl Kind {
    fn allows(self, value: &str) -> bool {
        match self {
            Self::Flag => matches!(
                value.to_ascii_lowercase().as_str(),
                "" | "0" | "1" | "true" | "false" | "yes" | "no" | "none"
            ),
            Self::Number => value.is_empty() || value.parse::<i64>().is_ok(),
            Self::Time => value
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b".:-+TZ".contains(&byte)),
            Self::Word => value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./,:+@ ".contains(&byte)),
            Self::Text => !value.contains('\0'),
        }
    }
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let text = text.replace('+', " ");
    percent_decode_str(&text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Refusal::malformed("the query is not UTF-8"))
}
