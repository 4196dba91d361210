//! `.env` and `env_file`: one `NAME=value` a line, as Compose reads them.

use crate::interpolate::{Variables, interpolate};
use std::collections::BTreeSet;

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineProblem {
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Reads a file's text. `lookup` are the variables that values may refer to,
/// besides those of earlier lines; a name without `=` takes its value from
/// there, and is left out if it has none.
pub(crate) fn parse(text: &str, lookup: &Variables) -> Result<Variables, LineProblem> {
    let mut known = lookup.clone();
    let mut found = Variables::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut cursor, mut line) = (0, 0);
    while cursor < text.len() {
        line += 1;
        let problem = |message: String| LineProblem { line, message };
        let start = cursor;
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        cursor = end + 1;
        let current = text[start..end].trim_end_matches('\r');
        let content = current.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let content = content.strip_prefix("export ").map_or(content, str::trim_start);
        let Some((name, value)) = content.split_once('=') else {
            let name = content.trim_end();
            check_name(name).map_err(problem)?;
            if let Some(value) = lookup.get(name) {
                found.insert(name.to_owned(), value.clone());
            }
            continue;
        };
        let name = name.trim_end();
        check_name(name).map_err(problem)?;
        let value = value.trim_start_matches([' ', '\t']);
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // A quoted value may go on over several lines.
                let quoted = &text[start + current.len() - value.len() + 1..];
                let close = closing_quote(quoted, quote)
                    .ok_or_else(|| problem(format!("the {quote} of {name} is never closed")))?;
                let inside = &quoted[..close];
                let rest = &quoted[close + 1..];
                let after = &rest[..rest.find('\n').unwrap_or(rest.len())];
                if !after.trim_start().starts_with('#') && !after.trim().is_empty() {
                    return Err(problem(format!(
                        "there is something after the closing {quote} of {name}"
                    )));
                }
                cursor = text.len() - rest.len() + after.len() + 1;
                let value = if quote == '\'' {
                    Ok(inside.to_owned())
                } else {
                    expand(&unescape(inside), &known)
                };
                let value = value.map_err(problem)?;
                line += inside.matches('\n').count();
                value
            }
            _ => expand(without_comment(value), &known).map_err(problem)?,
        };
        known.insert(name.to_owned(), value.clone());
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

fn check_name(name: &str) -> Result<(), String> {
    let legal = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-' | '[' | ']')
    };
    if !name.is_empty() && name.chars().all(legal) {
        Ok(())
    } else {
        Err(format!("\"{name}\" is not a variable's name"))
    }
}

fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if character == '\\' && quote == '"' {
            escaped = true;
        } else if character == quote {
            return Some(index);
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            // An escaped dollar must survive the interpolation after this.
            Some('$') => plain.push_str("$$"),
            Some(other @ ('"' | '\\')) => plain.push(other),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}

/// An unquoted value ends before ` #`; one that begins with `#` is a value, as
/// in Compose.
fn without_comment(value: &str) -> &str {
    let end = value
        .find(" #")
        .into_iter()
        .chain(value.find("\t#"))
        .min()
        .unwrap_or(value.len());
    value[..end].trim_end()
}

fn expand(value: &str, known: &Variables) -> Result<String, String> {
    if !value.contains('$') {
        return Ok(value.to_owned());
    }
    interpolate(value, known, &mut BTreeSet::new()).map_err(|error| error.to_string())
}
