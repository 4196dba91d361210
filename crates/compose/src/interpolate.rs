//! `$VAR` and `${VAR…}` in values, as the Compose specification has them
//! (<https://docs.docker.com/reference/compose-file/interpolation/>).

use crate::problem::{Note, Problem};
use crate::yaml::{Entry, Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Variables by name.
pub type Variables = BTreeMap<String, String>;

/// Default values may hold variables themselves; nobody nests deeper.
const DEEPEST: usize = 16;
/// A value repeated through defaults must not eat the memory.
const LONGEST: usize = 1 << 20;

/// Why a value could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpolationError {
    /// Something after `$` that is no variable.
    #[error("\"{0}\" is not a variable")]
    Malformed(String),
    /// `${VAR:?message}` with nothing to put there.
    #[error("the variable {name} is required and missing{}", message_suffix(.message))]
    Required {
        /// The variable.
        name: String,
        /// What the file's author says about it.
        message: String,
    },
    /// Defaults within defaults, or too long a result.
    #[error("the variables unfold to more than {LONGEST} characters or {DEEPEST} levels")]
    TooLarge,
}

fn message_suffix(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// Fills variables into one text; names of unset variables that became
/// nothing are added to `missing`.
///
/// # Errors
/// See [`InterpolationError`].
pub fn interpolate(
    text: &str,
    variables: &Variables,
    missing: &mut BTreeSet<String>,
) -> Result<String, InterpolationError> {
    fill(text, variables, missing, 0)
}

fn fill(
    text: &str,
    variables: &Variables,
    missing: &mut BTreeSet<String>,
    depth: usize,
) -> Result<String, InterpolationError> {
    if depth > DEEPEST {
        return Err(InterpolationError::TooLarge);
    }
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        filled.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            filled.push('$');
            rest = escaped;
        } else if let Some(body) = after.strip_prefix('{') {
            let end = closing_brace(body)
                .ok_or_else(|| InterpolationError::Malformed(rest[dollar..].to_owned()))?;
            let value = braced(&body[..end], variables, missing, depth)?;
            filled.push_str(&value);
            rest = &body[end + 1..];
        } else {
            let length = name_length(after);
            if length == 0 {
                return Err(InterpolationError::Malformed(
                    rest[dollar..].chars().take(12).collect(),
                ));
            }
            let name = &after[..length];
            match variables.get(name) {
                Some(value) => filled.push_str(value),
                None => {
                    missing.insert(name.to_owned());
                }
            }
            rest = &after[length..];
        }
        if filled.len() > LONGEST {
            return Err(InterpolationError::TooLarge);
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The inside of `${…}`.
fn braced(
    body: &str,
    variables: &Variables,
    missing: &mut BTreeSet<String>,
    depth: usize,
) -> Result<String, InterpolationError> {
    let malformed = || InterpolationError::Malformed(format!("${{{body}}}"));
    let (name, operation) = body.split_at(name_length(body));
    if name.is_empty() {
        return Err(malformed());
    }
    let value = variables.get(name);
    let set = value.is_some();
    let filled = value.is_some_and(|value| !value.is_empty());
    let current = || value.cloned().unwrap_or_default();
    let split = |prefix: &str| operation.strip_prefix(prefix);
    if operation.is_empty() {
        if !set {
            missing.insert(name.to_owned());
        }
        return Ok(current());
    }
    // The longer operators first, since `:-` begins like nothing else.
    for (operator, present) in [
        (":-", filled),
        ("-", set),
        (":?", filled),
        ("?", set),
        (":+", filled),
        ("+", set),
    ] {
        let Some(argument) = split(operator) else {
            continue;
        };
        let argument = |missing: &mut BTreeSet<String>| fill(argument, variables, missing, depth + 1);
        return match (operator.trim_start_matches(':'), present) {
            ("-" | "?", true) => Ok(current()),
            ("-", false) | ("+", true) => argument(missing),
            ("+", false) => Ok(String::new()),
            _ => Err(InterpolationError::Required {
                name: name.to_owned(),
                message: argument(missing)?,
            }),
        };
    }
    Err(malformed())
}

/// Where the brace closes that opened just before `body`.
fn closing_brace(body: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = body.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            b'$' if bytes.get(index + 1) == Some(&b'$') => index += 1,
            b'$' if bytes.get(index + 1) == Some(&b'{') => {
                depth += 1;
                index += 1;
            }
            b'}' if depth == 0 => return Some(index),
            b'}' => depth -= 1,
            _ => {}
        }
        index += 1;
    }
    None
}

/// Letters, digits and underscores, not beginning with a digit.
fn name_length(text: &str) -> usize {
    if text.starts_with(|character: char| character.is_ascii_digit()) {
        return 0;
    }
    text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .unwrap_or(text.len())
}

/// Fills every value of a tree; keys stay as they are written, as in Compose.
pub(crate) fn interpolate_tree(
    node: &Node,
    path: &str,
    variables: &Variables,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<Note>,
) -> Node {
    match &node.value {
        Value::Scalar(text) if text.contains('$') => {
            let mut missing = BTreeSet::new();
            let filled = match interpolate(text, variables, &mut missing) {
                Ok(filled) => filled,
                Err(error) => {
                    let problem = Problem::new(error.to_string()).at(&node.position, path);
                    problems.push(match error {
                        InterpolationError::Malformed(_) => problem
                            .hint("write $$ for a dollar sign; variables are $NAME and ${NAME:-default}"),
                        InterpolationError::Required { name, .. } => problem.hint(format!(
                            "set {name} in the environment or in the .env file beside the Compose file"
                        )),
                        InterpolationError::TooLarge => problem,
                    });
                    text.clone()
                }
            };
            for name in missing {
                notes.push(Note {
                    position: Some(node.position.clone()),
                    key: path.to_owned(),
                    message: format!("the variable {name} is not set; nothing stands in its place"),
                });
            }
            Node {
                value: Value::Scalar(filled),
                ..node.clone()
            }
        }
        Value::Sequence(items) => {
            let items = items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    interpolate_tree(item, &format!("{path}[{index}]"), variables, problems, notes)
                })
                .collect();
            Node {
                value: Value::Sequence(Arc::new(items)),
                ..node.clone()
            }
        }
        Value::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|entry| Entry {
                    node: interpolate_tree(&entry.node, &join(path, &entry.key), variables, problems, notes),
                    ..entry.clone()
                })
                .collect();
            Node {
                value: Value::Mapping(Arc::new(entries)),
                ..node.clone()
            }
        }
        _ => node.clone(),
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
