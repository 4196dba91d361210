//! The revision of a template: a digest of what defines it, whatever its id, its name and the time it was made.

use serde_json::{Value, json};
use skep_model::Revision;

use crate::compact::{compact, sorted};

/// The revision of a compacted inspection.
pub(crate) fn revision(definition: &Value) -> Revision {
    let short_id = definition["Id"]
        .as_str()
        .and_then(|id| id.get(..12))
        .unwrap_or_default();
    let mut config = definition["Config"].clone();
    if let Some(fields) = config.as_object_mut() {
        // The image counts by its digest; and unless it was chosen, the host name is the container's id.
        fields.remove("Image");
        if fields.get("Hostname").and_then(Value::as_str) == Some(short_id) {
            fields.remove("Hostname");
        }
    }
    let mut host = definition["HostConfig"].clone();
    if let Some(fields) = host.as_object_mut() {
        fields.remove("ContainerIDFile");
    }
    let canonical = json!({
        "Image": definition["Image"],
        "Config": config,
        "HostConfig": host,
        "Networks": networks(&definition["NetworkSettings"]["Networks"], short_id),
    });
    Revision::of(sorted(canonical).to_string().as_bytes())
}

/// What was asked for on each network; the rest of an endpoint is what the engine made of it.
fn networks(networks: &Value, short_id: &str) -> Value {
    let asked = networks
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, endpoint)| {
            let mut aliases: Vec<&str> = endpoint["Aliases"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            // The engine adds the short id as an alias.
            aliases.retain(|alias| *alias != short_id);
            aliases.sort_unstable();
            let endpoint = compact(json!({
                "Aliases": aliases,
                "IPAMConfig": endpoint["IPAMConfig"],
                "Links": endpoint["Links"],
                "DriverOpts": endpoint["DriverOpts"],
                "GwPriority": endpoint["GwPriority"],
            }));
            (name.clone(), endpoint)
        });
    Value::Object(asked.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(id: &str, name: &str, hostname: &str) -> Value {
        json!({
            "Id": id, "Name": name, "Created": name, "Image": "sha256:1",
            "Config": {"Hostname": hostname, "Image": "debian", "Labels": {"skep.function": "a"}},
            "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Networks": {"n": {"Aliases": [&id[..12]], "NetworkID": name}}},
        })
    }

    #[test]
    fn id_name_and_time_do_not_count() {
        let one = definition("aaaaaaaaaaaaaaaa", "/one", "aaaaaaaaaaaa");
        let two = definition("bbbbbbbbbbbbbbbb", "/two", "bbbbbbbbbbbb");
        assert_eq!(revision(&one), revision(&two));
    }

    #[test]
    fn a_chosen_host_name_counts() {
        let one = definition("aaaaaaaaaaaaaaaa", "/one", "aaaaaaaaaaaa");
        let two = definition("aaaaaaaaaaaaaaaa", "/one", "chosen");
        assert_ne!(revision(&one), revision(&two));
    }

    #[test]
    fn image_labels_and_network_aliases_count() {
        let base = definition("aaaaaaaaaaaaaaaa", "/one", "aaaaaaaaaaaa");
        for path in [
            "/Image",
            "/Config/Labels/skep.function",
            "/HostConfig/NetworkMode",
        ] {
            let mut other = base.clone();
            *other.pointer_mut(path).unwrap() = json!("other");
            assert_ne!(revision(&base), revision(&other), "{path}");
        }
        let mut other = base.clone();
        *other.pointer_mut("/NetworkSettings/Networks/n/Aliases").unwrap() = json!(["db"]);
        assert_ne!(revision(&base), revision(&other));
    }
}
