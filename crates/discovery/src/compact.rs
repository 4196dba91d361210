//! An inspection reduced to what defines the container, and in one fixed order: a thousand of them are kept, and
//! the same definition must always give the same text.

use bollard::models::ContainerInspectResponse;
use serde_json::{Map, Value, json};

/// What a user wrote as keys and values; an empty value means something there.
const VERBATIM: [&str; 12] = [
    "Labels",
    "ExposedPorts",
    "Volumes",
    "Tmpfs",
    "Sysctls",
    "StorageOpt",
    "Annotations",
    "PortBindings",
    "LogConfig",
    "DriverOpts",
    "VolumeOptions",
    "Healthcheck",
];

/// Where zero, false or an empty list is an answer and not the lack of one: the engine's default is another.
const MEANINGFUL: [&str; 6] = [
    "MemorySwappiness",
    "StopTimeout",
    "Init",
    "OomKillDisable",
    "MaskedPaths",
    "ReadonlyPaths",
];

/// The parts of an inspection from which the container can be made again.
pub(crate) fn definition(inspect: &ContainerInspectResponse) -> Value {
    let networks = inspect
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let full = json!({
        "Id": inspect.id,
        "Name": inspect.name,
        "Created": inspect.created,
        "Image": inspect.image,
        "Config": inspect.config,
        "HostConfig": inspect.host_config,
        "Mounts": inspect.mounts,
    });
    let mut compacted = compact(full);
    // A network's entry counts by its key alone, so it stays even where nothing is left in it.
    let networks: Map<String, Value> = networks
        .into_iter()
        .flatten()
        .map(|(name, endpoint)| (name.clone(), compact(json!(endpoint))))
        .collect();
    if let Value::Object(fields) = &mut compacted {
        fields.insert(
            "NetworkSettings".to_owned(),
            sorted(json!({ "Networks": networks })),
        );
    }
    compacted
}

/// Leaves out what says nothing, and sorts every object's keys.
pub(crate) fn compact(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let mut kept: Vec<(String, Value)> = fields
        .into_iter()
        .filter_map(|(key, value)| {
            let value = if VERBATIM.contains(&key.as_str()) {
                sorted(value)
            } else {
                compact(value)
            };
            let says_nothing = match &value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty() && !MEANINGFUL.contains(&key.as_str()),
                Value::Object(fields) => fields.is_empty(),
                Value::Bool(set) => !set && !MEANINGFUL.contains(&key.as_str()),
                Value::Number(number) => number.as_f64() == Some(0.0) && !MEANINGFUL.contains(&key.as_str()),
            };
            (!says_nothing).then_some((key, value))
        })
        .collect();
    kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    Value::Object(kept.into_iter().collect())
}

/// The same value with every object's keys in order.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_left_out() {
        let value =
            json!({"A": null, "B": "", "C": [], "D": {}, "E": 0, "F": false, "G": {"H": null}, "I": 1});
        assert_eq!(compact(value), json!({"I": 1}));
    }

    #[test]
    fn what_a_user_wrote_stays_though_it_is_empty() {
        let value = json!({"Labels": {"b": "", "a": "1"}, "ExposedPorts": {"80/tcp": {}}, "Env": ["A="]});
        assert_eq!(compact(value.clone()), value);
    }

    #[test]
    fn a_zero_that_differs_from_the_default_stays() {
        let value = json!({"MemorySwappiness": 0, "Init": false, "CpuShares": 0});
        assert_eq!(compact(value), json!({"MemorySwappiness": 0, "Init": false}));
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one = compact(json!({"Labels": {"b": "2", "a": "1"}, "A": 1})).to_string();
        let two = compact(json!({"A": 1, "Labels": {"a": "1", "b": "2"}})).to_string();
        assert_eq!(one, two);
    }
}
