//! `filters=…` of lists and events, in both of its spellings.

use std::collections::BTreeMap;

use serde_json::json;

use crate::json::Json;
use crate::refusal::Refusal;

/// Filters by their name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    by_name: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Reads `{"name": ["value"]}`, or `{"name": {"value": true}}` as older clients write it.
    ///
    /// # Errors
    /// It can't be read, or has a filter that is not `known`.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, Refusal> {
        let malformed = || Refusal::malformed("filters: must be an object of lists of strings");
        let entries = match Json::parse(text.as_bytes())? {
            Json::Null => Vec::new(),
            Json::Object(entries) => entries,
            _ => return Err(malformed()),
        };
        let mut by_name = BTreeMap::new();
        for (name, values) in entries {
            if !known.contains(&name.as_str()) {
                return Err(Refusal::forbidden(format!(
                    "filters: {name:?} is not known to this socket; it knows {}",
                    known.join(", ")
                )));
            }
            let values = match values {
                Json::Null => Vec::new(),
                Json::List(items) => items
                    .into_iter()
                    .map(|item| match item {
                        Json::Text(text) => Ok(text),
                        _ => Err(malformed()),
                    })
                    .collect::<Result<Vec<_>, _>>()?,
                Json::Object(items) => items
                    .into_iter()
                    .filter(|(_, on)| *on == Json::Bool(true))
                    .map(|(value, _)| value)
                    .collect(),
                _ => return Err(malformed()),
            };
            by_name.insert(name, values);
        }
        Ok(Self { by_name })
    }

    /// Adds one more value that must match.
    pub fn add(&mut self, name: &str, value: String) {
        self.by_name.entry(name.to_owned()).or_default().push(value);
    }

    /// Takes a filter out.
    pub fn take(&mut self, name: &str) -> Vec<String> {
        self.by_name.remove(name).unwrap_or_default()
    }

    /// The values of a filter.
    pub fn values(&self, name: &str) -> &[String] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// As the daemon takes it.
    pub fn written(&self) -> String {
        json!(self.by_name).to_string()
    }
}
