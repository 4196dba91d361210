//! Kernel settings that belong to a namespace, and so may be an instance's own.

use serde_json::Value;

use super::network::Network;
use crate::inspect::Fields;

/// What Docker sets in every network namespace that it makes; a sandbox has it from Docker.
const USUAL: [(&str, &str); 2] = [
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// For an instance with a network namespace of its own.
pub(crate) fn usual() -> Vec<(String, String)> {
    USUAL
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// The settings of an IPC namespace (sysctl.kernel(5)).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Reads `--sysctl`. What belongs to a network is left to the sandbox where there is one.
pub(super) fn read(host: &mut Fields, network: Network, reasons: &mut Vec<String>) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = Vec::new();
    if network == Network::Own {
        settings = usual();
    }
    let Value::Object(asked) = host.take("Sysctls") else {
        return settings;
    };
    for (name, value) in asked {
        let value = value.as_str().unwrap_or_default().to_owned();
        if name.contains("..") || name.contains('/') {
            reasons.push(format!("the lean engine does not set the sysctl {name}"));
        } else if name.starts_with("net.") {
            if network == Network::Own {
                settings.retain(|(known, _)| *known != name);
                settings.push((name, value));
            }
        } else if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            settings.push((name, value));
        } else {
            reasons.push(format!("the lean engine does not set the sysctl {name}"));
        }
    }
    settings
}
