//! A mapping that remembers which of its keys were understood.

use super::hints;
use crate::interpolate::{Variables, join};
use crate::problem::{Note, Position, Problem};
use crate::yaml::{Entry, Node, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What every decoder needs: where relative paths start, the variables, and
/// where to put what is wrong.
pub(crate) struct Context<'a> {
    pub(crate) directory: PathBuf,
    pub(crate) variables: &'a Variables,
    problems: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Note>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(directory: &Path, variables: &'a Variables) -> Self {
        Self {
            directory: directory.to_owned(),
            variables,
            problems: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    pub(crate) fn refuse(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn refuse_at(&self, position: &Position, key: &str, message: impl Into<String>) {
        self.refuse(Problem::new(message).at(position, key));
    }

    pub(crate) fn note(&self, position: &Position, key: &str, message: impl Into<String>) {
        self.notes.borrow_mut().push(Note {
            position: Some(position.clone()),
            key: key.to_owned(),
            message: message.into(),
        });
    }

    pub(crate) fn finish(self) -> (Vec<Problem>, Vec<Note>) {
        (self.problems.into_inner(), self.notes.into_inner())
    }

    /// A path from the file, resolved against the project's directory.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        let expanded = match (text.strip_prefix('~'), self.variables.get("HOME")) {
            (Some(""), Some(home)) => PathBuf::from(home),
            (Some(rest), Some(home)) if rest.starts_with('/') => {
                Path::new(home).join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(text),
        };
        normal(&self.directory.join(expanded))
    }
}

/// Takes `.` and `..` out without looking at the disk, as Compose does.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// A mapping being decoded.
pub(crate) struct Fields<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) path: String,
    pub(crate) position: Position,
    entries: &'a [Entry],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// Opens a mapping; anything else is refused.
    pub(crate) fn open(context: &'a Context<'a>, node: &'a Node, path: &str) -> Option<Self> {
        let entries: &[Entry] = match &node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            _ => {
                context.refuse_at(
                    &node.position,
                    path,
                    format!("expected a mapping, found {}", node.kind()),
                );
                return None;
            }
        };
        Some(Self {
            context,
            path: path.to_owned(),
            position: node.position.clone(),
            entries,
            asked: RefCell::default(),
        })
    }

    /// A key's value with its path; a key without value counts as absent.
    pub(crate) fn take(&self, key: &'static str) -> Option<(&'a Node, String)> {
        self.take_even_null(key).filter(|(node, _)| !node.is_null())
    }

    pub(crate) fn take_even_null(&self, key: &'static str) -> Option<(&'a Node, String)> {
        self.asked.borrow_mut().push(key);
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| (&entry.node, join(&self.path, key)))
    }

    /// Where each key stands.
    pub(crate) fn positions(&self) -> BTreeMap<String, Position> {
        self.entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.position.clone()))
            .collect()
    }

    /// Accepts keys that have no meaning here, saying so.
    pub(crate) fn noted(&self, keys: &[&'static str], meaning: &str) {
        for &key in keys {
            if let Some((node, path)) = self.take(key) {
                self.context.note(&node.position, &path, meaning);
            }
        }
    }

    /// Refuses keys for a reason of their own.
    pub(crate) fn refused(&self, keys: &[&'static str], message: &str, hint: &str) {
        for &key in keys {
            if self.take_even_null(key).is_some() {
                let entry = self.entries.iter().find(|entry| entry.key == key);
                if let Some(entry) = entry {
                    self.context.refuse(
                        Problem::new(message)
                            .at(&entry.position, join(&self.path, key))
                            .hint(hint),
                    );
                }
            }
        }
    }

    /// Refuses whatever nobody asked for; `x-*` is everybody's own.
    pub(crate) fn finish(self) {
        let asked = self.asked.into_inner();
        for entry in self.entries {
            if asked.contains(&entry.key.as_str()) || entry.key.starts_with("x-") {
                continue;
            }
            let problem =
                Problem::new("this key is not supported").at(&entry.position, join(&self.path, &entry.key));
            self.context.refuse(
                problem.hint(hints::for_key(&entry.key, &asked).unwrap_or_else(|| {
                    String::from("remove it, or rename it to x-… if it is only for other tools")
                })),
            );
        }
    }
}

/// The entries of a mapping whose keys are the user's own names; `x-*` left out.
pub(crate) fn named<'a>(context: &Context<'_>, node: &'a Node, path: &str) -> Vec<(&'a Entry, String)> {
    match &node.value {
        Value::Mapping(entries) => entries
            .iter()
            .filter(|entry| !entry.key.starts_with("x-"))
            .map(|entry| (entry, join(path, &entry.key)))
            .collect(),
        Value::Null => Vec::new(),
        _ => {
            context.refuse_at(
                &node.position,
                path,
                format!("expected a mapping of names, found {}", node.kind()),
            );
            Vec::new()
        }
    }
}
