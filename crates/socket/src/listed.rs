//! A child as Docker's list shows it.

use jiff::Timestamp;
use serde_json::Value;
use skep_model::Namespace;

use crate::child::{Child, State};
use crate::labels::Marks;
use crate::names;

/// Reads an entry; `None` for what is no child of this namespace.
pub(crate) fn child(entry: &Value, namespace: &Namespace) -> Option<Child> {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let labels = entry.get("Labels")?.as_object()?;
    let marks = Marks::read(
        |key| labels.get(key).and_then(Value::as_str).map(str::to_owned),
        namespace,
    )?;
    let prefix = names::prefix(namespace, &marks.function);
    let real = text("/Names/0")?;
    let real = real.trim_start_matches('/');
    let state = match text("/State")?.as_str() {
        "created" => State::Created,
        "exited" | "dead" | "removing" => State::Exited(exit_code(&text("/Status").unwrap_or_default())),
        _ => State::Running,
    };
    let created = entry.get("Created").and_then(Value::as_i64).unwrap_or(0);
    let created = Timestamp::from_second(created).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(Child {
        id: text("/Id")?,
        name: real.strip_prefix(&prefix).unwrap_or(real).to_owned(),
        marks,
        state,
        created,
        started: (state != State::Created).then_some(created),
        ended: matches!(state, State::Exited(_)).then(Timestamp::now),
        removed: false,
        disk: None,
        over: None,
    })
}

/// The code in `Exited (137) 3 seconds ago`.
fn exit_code(status: &str) -> i64 {
    let inside = status.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    inside.and_then(|(code, _)| code.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::exit_code;

    #[test]
    fn the_exit_code_is_read_from_the_status() {
        assert_eq!(exit_code("Exited (137) 3 seconds ago"), 137);
        assert_eq!(exit_code("Created"), 0);
    }
}
