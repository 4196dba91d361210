//! An instance's environment: the template's, with Skep's variables in the place of those of the same name.

use serde_json::Value;

/// The template's variables (`NAME=VALUE`) with `over` replacing or following them. What is said last wins.
pub(crate) fn merged(template: Option<&Value>, over: &[(String, String)]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    let own = template
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let over = over.iter().map(|(name, value)| format!("{name}={value}"));
    for variable in own.map(str::to_owned).chain(over) {
        let name = name(&variable);
        match merged.iter_mut().find(|known| self::name(known) == name) {
            Some(known) => *known = variable,
            None => merged.push(variable),
        }
    }
    merged
}

fn name(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_skep_takes_the_place_of_the_templates_own() {
        let template = serde_json::json!(["PATH=/bin", "PORT=1", "EMPTY="]);
        let over = [
            ("PORT".to_owned(), "8080".to_owned()),
            ("SKEP_FUNCTION".to_owned(), "hello".to_owned()),
        ];
        assert_eq!(
            merged(Some(&template), &over),
            ["PATH=/bin", "PORT=8080", "EMPTY=", "SKEP_FUNCTION=hello"]
        );
    }

    #[test]
    fn a_template_without_environment_gets_only_what_skep_gives() {
        assert_eq!(merged(Some(&Value::Null), &[("A".into(), "1".into())]), ["A=1"]);
    }
}
