//! Single values, with a message where they are something else.

use super::fields::{Context, Fields};
use super::units;
use crate::problem::Problem;
use crate::yaml::{Node, Value};
use std::str::FromStr;
use std::time::Duration;

impl Context<'_> {
    /// A scalar's text.
    pub(crate) fn text(&self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Scalar(text) => Some(text.clone()),
            _ => {
                self.refuse_at(
                    &node.position,
                    path,
                    format!("expected a single value, found {}", node.kind()),
                );
                None
            }
        }
    }

    pub(crate) fn parsed<T>(
        &self,
        node: &Node,
        path: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(node, path)?;
        let value = parse(&text);
        if value.is_none() {
            self.refuse(Problem::new(format!("\"{text}\" is not {expected}")).at(&node.position, path));
        }
        value
    }

    /// A list of scalars.
    pub(crate) fn texts(&self, node: &Node, path: &str) -> Vec<String> {
        match &node.value {
            Value::Sequence(items) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| self.text(item, &format!("{path}[{index}]")))
                .collect(),
            _ => {
                self.refuse_at(
                    &node.position,
                    path,
                    format!("expected a list, found {}", node.kind()),
                );
                Vec::new()
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word(&self, node: &Node, path: &str, words: &[&str]) -> Option<String> {
        self.parsed(node, path, &format!("one of {}", words.join(", ")), |text| {
            words.contains(&text).then(|| text.to_owned())
        })
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "0" => Some(false),
        _ => None,
    }
}

impl Fields<'_> {
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        let (node, path) = self.take(key)?;
        self.context.text(node, &path)
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Option<bool> {
        let (node, path) = self.take(key)?;
        self.context.parsed(node, &path, "true or false", truth)
    }

    pub(crate) fn number<T: FromStr>(&self, key: &'static str) -> Option<T> {
        let (node, path) = self.take(key)?;
        self.context
            .parsed(node, &path, "a number in range", |text| text.trim().parse().ok())
    }

    pub(crate) fn duration(&self, key: &'static str) -> Option<Duration> {
        let (node, path) = self.take(key)?;
        self.context
            .parsed(node, &path, "a duration such as 10s or 1m30s", units::duration)
    }

    pub(crate) fn bytes(&self, key: &'static str) -> Option<i64> {
        let (node, path) = self.take(key)?;
        self.context
            .parsed(node, &path, "a size such as 64m or 1gb", units::bytes)
    }

    pub(crate) fn texts(&self, key: &'static str) -> Vec<String> {
        match self.take(key) {
            Some((node, path)) => self.context.texts(node, &path),
            None => Vec::new(),
        }
    }

    /// A list, or one value in its place.
    pub(crate) fn one_or_more(&self, key: &'static str) -> Vec<String> {
        match self.take(key) {
            Some((node, path)) => match &node.value {
                Value::Scalar(text) => vec![text.clone()],
                _ => self.context.texts(node, &path),
            },
            None => Vec::new(),
        }
    }

    pub(crate) fn word(&self, key: &'static str, words: &[&str]) -> Option<String> {
        let (node, path) = self.take(key)?;
        self.context.word(node, &path, words)
    }
}
