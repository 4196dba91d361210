//! What to say about a key that is not supported.

/// The hint for a refused key, `known` being what its mapping could have held.
pub(super) fn for_key(key: &str, known: &[&'static str]) -> Option<String> {
    if let Some(hint) = WELL_KNOWN
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, hint)| (*hint).to_owned())
    {
        return Some(hint);
    }
    known
        .iter()
        .map(|name| (distance(key, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| format!("did you mean {name}?"))
}

const WELL_KNOWN: [(&str, &str); 25] = [
    (
        "extends",
        "copy the keys with a YAML anchor and <<: *anchor, or lay a second file over with -f",
    ),
    ("include", "pass the other file with a second -f"),
    (
        "links",
        "services on one network find each other by name: remove it",
    ),
    ("external_links", "put both on one network marked external: true"),
    ("volumes_from", "name the volume in both services"),
    (
        "develop",
        "skep does not watch files: run skep deploy again after a change",
    ),
    ("models", "start the model as a service of its own"),
    (
        "provider",
        "start what the provider would start as a service of its own",
    ),
    ("post_start", "let the image's entrypoint do it"),
    ("pre_stop", "handle the stop signal in the process"),
    (
        "gpus",
        "not supported yet: start this service with docker run --gpus",
    ),
    ("blkio_config", "not supported yet: limit block I/O from outside"),
    ("cgroup", "remove it: containers get the engine's own choice"),
    (
        "cgroup_parent",
        "remove it: containers get the engine's own choice",
    ),
    ("credential_spec", "Windows only: remove it"),
    ("isolation", "Windows only: remove it"),
    ("device_cgroup_rules", "name the devices under devices instead"),
    ("cpu_rt_period", "remove it: realtime scheduling is not supported"),
    (
        "cpu_rt_runtime",
        "remove it: realtime scheduling is not supported",
    ),
    ("mem_swappiness", "remove it: engines on cgroup v2 ignore it"),
    ("storage_opt", "remove it: it works with few storage drivers only"),
    ("label_file", "write the labels under labels"),
    (
        "use_api_socket",
        "a function gets a socket of its own with the label skep.spawn",
    ),
    (
        "mac_address",
        "remove it, or set it under networks with another tool",
    ),
    ("uts", "remove it: containers get their own host name"),
];

/// Levenshtein's distance: the fewest single-letter changes between two words.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
