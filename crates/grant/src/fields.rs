//! An object from which known fields are taken one by one; what is left at the end nobody knows, and is refused.

use std::collections::BTreeMap;

use crate::json::Json;
use crate::refusal::Refusal;
use crate::tables::{Neutral, Row};

/// The fields of one object that were not taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Where the object stands, for messages: `HostConfig.`.
    at: String,
    left: Vec<(String, Json)>,
}

impl Fields {
    /// `null` is an object without fields.
    pub(crate) fn of(at: &str, value: Json) -> Result<Self, Refusal> {
        let left = match value {
            Json::Null => Vec::new(),
            Json::Object(fields) => fields,
            other => return Err(wrong(at, "an object", &other)),
        };
        let at = if at.is_empty() {
            String::new()
        } else {
            format!("{at}.")
        };
        Ok(Self { at, left })
    }

    pub(crate) fn take(&mut self, name: &str) -> Json {
        let found = self.left.iter().position(|(key, _)| key == name);
        found.map_or(Json::Null, |index| self.left.swap_remove(index).1)
    }

    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.at)
    }

    /// A string; `""` where it says nothing.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, Refusal> {
        match self.take(name) {
            Json::Null => Ok(String::new()),
            Json::Text(text) if !text.contains('\0') => Ok(text),
            other => Err(wrong(&self.at(name), "a string", &other)),
        }
    }

    /// `false` where it says nothing.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.take(name) {
            Json::Null => Ok(false),
            Json::Bool(flag) => Ok(flag),
            other => Err(wrong(&self.at(name), "true or false", &other)),
        }
    }

    pub(crate) fn maybe_flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.take(name) {
            Json::Null => Ok(None),
            Json::Bool(flag) => Ok(Some(flag)),
            other => Err(wrong(&self.at(name), "true or false", &other)),
        }
    }

    /// `None` where it says nothing.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.take(name) {
            Json::Null => Ok(None),
            Json::Number(number) => Ok(Some(number)),
            other => Err(wrong(&self.at(name), "a whole number", &other)),
        }
    }

    /// A number in these bounds; outside of them is what `needs` says.
    pub(crate) fn bounded(
        &mut self,
        name: &str,
        bounds: std::ops::RangeInclusive<i64>,
        needs: &str,
    ) -> Result<Option<i64>, Refusal> {
        let number = self.number(name)?;
        match number {
            Some(number) if !bounds.contains(&number) => {
                Err(Refusal::forbidden(format!("{}={number}: {needs}", self.at(name))))
            }
            other => Ok(other),
        }
    }

    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<Json>, Refusal> {
        match self.take(name) {
            Json::Null => Ok(Vec::new()),
            Json::List(items) => Ok(items),
            other => Err(wrong(&self.at(name), "a list", &other)),
        }
    }

    /// A list of strings; `None` for `null`.
    pub(crate) fn maybe_texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        match self.take(name) {
            Json::Null => Ok(None),
            Json::List(items) => items
                .into_iter()
                .map(|item| match item {
                    Json::Text(text) if !text.contains('\0') => Ok(text),
                    other => Err(wrong(&self.at(name), "a list of strings", &other)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            other => Err(wrong(&self.at(name), "a list of strings", &other)),
        }
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        Ok(self.maybe_texts(name)?.unwrap_or_default())
    }

    /// A command: a list, or one word as the API takes it too.
    pub(crate) fn command(&mut self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let value = self.take(name);
        if let Json::Text(word) = value {
            return Ok(Some(vec![word]));
        }
        self.left.push((name.to_owned(), value));
        self.maybe_texts(name)
    }

    /// An object of strings.
    pub(crate) fn pairs(&mut self, name: &str) -> Result<BTreeMap<String, String>, Refusal> {
        self.entries(name)?
            .into_iter()
            .map(|(key, value)| match value {
                Json::Text(text) => Ok((key, text)),
                Json::Null => Ok((key, String::new())),
                other => Err(wrong(&self.at(name), "an object of strings", &other)),
            })
            .collect()
    }

    /// An object's entries, whatever their values.
    pub(crate) fn entries(&mut self, name: &str) -> Result<Vec<(String, Json)>, Refusal> {
        match self.take(name) {
            Json::Null => Ok(Vec::new()),
            Json::Object(entries) => Ok(entries),
            other => Err(wrong(&self.at(name), "an object", &other)),
        }
    }

    /// A set as Go writes it: an object whose values are empty objects.
    pub(crate) fn set(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        self.entries(name)?
            .into_iter()
            .map(|(key, value)| match value {
                Json::Null => Ok(key),
                Json::Object(fields) if fields.is_empty() => Ok(key),
                other => Err(wrong(&self.at(name), "an object of empty objects", &other)),
            })
            .collect()
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Self, Refusal> {
        let value = self.take(name);
        Self::of(&self.at(name), value)
    }

    /// Fields that clients send and that may say nothing.
    pub(crate) fn neutral(&mut self, table: &[Row]) -> Result<(), Refusal> {
        for (name, neutral, reason) in table {
            let value = self.take(name);
            if value != Json::Null && !neutral.iter().any(|neutral| neutral.is(&value)) {
                return Err(Refusal::forbidden(format!("{}: {reason}", self.at(name))));
            }
        }
        Ok(())
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::forbidden(format!(
                "{}{name}: this socket does not know that field, so it refuses it; \
                 names are written as in Docker's reference, each once",
                self.at
            ))),
        }
    }
}

impl Neutral {
    fn is(self, value: &Json) -> bool {
        match (self, value) {
            (Self::False, Json::Bool(false))
            | (Self::Zero, Json::Number(0))
            | (Self::MinusOne, Json::Number(-1)) => true,
            (Self::Empty, Json::Text(text)) => text.is_empty(),
            (Self::Word(word), Json::Text(text)) => text == word,
            (Self::NoItems, Json::List(items)) => items.is_empty(),
            (Self::NoKeys, Json::Object(fields)) => fields.is_empty(),
            _ => false,
        }
    }
}

pub(crate) fn wrong(at: &str, wanted: &str, found: &Json) -> Refusal {
    let at = if at.is_empty() { "the body" } else { at };
    Refusal::malformed(format!("{at} must be {wanted} and is {}", found.kind()))
}
