//! Prunes: `docker system prune` deletes parked containers. Skep puts them back while it runs; a filter in the
//! docker command's configuration keeps them from being deleted in the first place.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::report::Report;

const FILTER: &str = "label!=skep.function";

pub(crate) fn examine(report: &mut Report, config: Option<&Path>) {
    let Some(path) = config else { return };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(_) => String::from("{}"),
    };
    let shown = path.display();
    match serde_json::from_str::<Value>(&text) {
        Err(error) => report.warn(
            "prune filter",
            format!("{shown} can't be read as JSON: {error}"),
            "the docker command complains about it, too; repair it",
        ),
        Ok(value) if has_filter(&value) => {
            report.ok("prune filter", format!("{shown} keeps docker system prune away from functions"));
        }
        Ok(_) => report.warn(
            "prune filter",
            "docker system prune deletes functions; a running Skep puts them back within a second, a stopped one can't",
            format!("add \"pruneFilters\": [\"{FILTER}\"] to {shown} of everyone who prunes"),
        ),
    }
}

fn has_filter(config: &Value) -> bool {
    let filters = config.get("pruneFilters").and_then(Value::as_array);
    filters.is_some_and(|filters| {
        filters
            .iter()
            .filter_map(Value::as_str)
            .any(|filter| filter.replace(' ', "") == FILTER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    fn level(config: &str) -> Level {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config.json");
        fs::write(&path, config).unwrap();
        let mut report = Report::default();
        examine(&mut report, Some(&path));
        report.worst()
    }

    #[test]
    fn the_filter_is_found_among_others() {
        assert_eq!(
            level(r#"{"pruneFilters": ["until=24h", "label!=skep.function"]}"#),
            Level::Ok
        );
    }

    #[test]
    fn without_the_filter_the_user_is_told_what_a_prune_does() {
        assert_eq!(level("{}"), Level::Warn);
        assert_eq!(level(r#"{"pruneFilters": ["label!=keep"]}"#), Level::Warn);
        assert_eq!(level("not json"), Level::Warn);
    }
}
