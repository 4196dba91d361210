//! Pairs in list or mapping form, command lines, environments.

use super::fields::{Context, Fields, named};
use super::units;
use crate::dotenv;
use crate::problem::{Position, Problem};
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// No env file or secret is anywhere near this.
pub(super) const LARGEST_FILE: u64 = 4 << 20;

impl Fields<'_> {
    /// `NAME=value` as a list or a mapping; `None` where there is no value.
    pub(super) fn pairs(&self, key: &'static str) -> BTreeMap<String, Option<String>> {
        match self.take(key) {
            Some((node, path)) => pairs(self.context, node, &path),
            None => BTreeMap::new(),
        }
    }

    /// Pairs whose missing value is the empty text.
    pub(super) fn labels(&self, key: &'static str) -> BTreeMap<String, String> {
        self.pairs(key)
            .into_iter()
            .map(|(name, value)| (name, value.unwrap_or_default()))
            .collect()
    }

    /// A command: a list of words, or one line split as a shell does.
    pub(super) fn command(&self, key: &'static str) -> Option<Vec<String>> {
        let (node, path) = self.take(key)?;
        match &node.value {
            Value::Scalar(line) => match units::shell_words(line) {
                Ok(words) => Some(words),
                Err(error) => {
                    self.context.refuse_at(&node.position, &path, error);
                    None
                }
            },
            _ => Some(self.context.texts(node, &path)),
        }
    }

    /// `env_file` and `environment` together, names without value taken from
    /// the variables.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        if let Some((node, path)) = self.take("env_file") {
            match &node.value {
                Value::Sequence(items) => {
                    for (index, item) in items.iter().enumerate() {
                        let path = format!("{path}[{index}]");
                        env_file(self.context, item, &path, &mut environment);
                    }
                }
                _ => env_file(self.context, node, &path, &mut environment),
            }
        }
        for (name, value) in self.pairs("environment") {
            match value.or_else(|| self.context.variables.get(&name).cloned()) {
                Some(value) => environment.insert(name, value),
                // Compose unsets what is named without a value anywhere.
                None => environment.remove(&name),
            };
        }
        environment
    }
}

pub(super) fn pairs(context: &Context<'_>, node: &Node, path: &str) -> BTreeMap<String, Option<String>> {
    let mut pairs = BTreeMap::new();
    let mut keep = |name: &str, value: Option<String>, position: &Position, path: &str| {
        if name.is_empty() || name.contains(['=', '\0']) {
            context.refuse_at(position, path, format!("\"{name}\" cannot be a name"));
        } else {
            pairs.insert(name.to_owned(), value);
        }
    };
    match &node.value {
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let Some(text) = context.text(item, &path) else {
                    continue;
                };
                match text.split_once('=') {
                    Some((name, value)) => {
                        keep(name, Some(value.to_owned()), &item.position, &path);
                    }
                    None => keep(&text, None, &item.position, &path),
                }
            }
        }
        Value::Mapping(entries) => {
            for entry in entries.iter() {
                let path = format!("{path}.{}", entry.key);
                let value = if entry.node.is_null() {
                    None
                } else {
                    match context.text(&entry.node, &path) {
                        Some(text) => Some(text),
                        None => continue,
                    }
                };
                keep(&entry.key, value, &entry.position, &path);
            }
        }
        _ => {
            let _ = named(context, node, path);
        }
    }
    pairs
}

/// One `env_file`: a path, or `path`, `required` and `format`.
fn env_file(context: &Context<'_>, node: &Node, path: &str, environment: &mut BTreeMap<String, String>) {
    let (file, required, raw) = match &node.value {
        Value::Scalar(file) => (file.clone(), true, false),
        _ => {
            let Some(fields) = Fields::open(context, node, path) else {
                return;
            };
            let file = fields.text("path");
            let required = fields.boolean("required").unwrap_or(true);
            let raw = fields.word("format", &["raw"]).is_some();
            fields.finish();
            match file {
                Some(file) => (file, required, raw),
                None => {
                    return context.refuse_at(&node.position, path, "path is missing");
                }
            }
        }
    };
    let file = context.path(&file);
    let refuse = |message: String| context.refuse(Problem::new(message).at(&node.position, path));
    let text = match read_text(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return,
        Err(error) => return refuse(format!("cannot read {}: {error}", file.display())),
    };
    if raw {
        for line in text.lines() {
            if let Some((name, value)) = line.split_once('=')
                && !line.starts_with('#')
            {
                environment.insert(name.trim().to_owned(), value.to_owned());
            }
        }
        return;
    }
    match dotenv::parse(&text, context.variables) {
        Ok(found) => environment.extend(found),
        Err(problem) => refuse(format!(
            "{}:{}: {}",
            file.display(),
            problem.line,
            problem.message
        )),
    }
}

/// A text file, refused where it is larger than any sane one.
pub(crate) fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it is larger than {} MiB", LARGEST_FILE >> 20),
        ));
    }
    Ok(text)
}
