//! Device nodes: those that Docker makes in every container, and those that a template names.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde_json::Value;
use skep_spawner::Device;

use crate::inspect::{Fields, not_given};
use crate::limits::DeviceRule;

/// A template's own devices, and the rules by which they are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) nodes: Vec<Device>,
    pub(crate) rules: Vec<DeviceRule>,
}

/// Reads `--device`.
pub(super) fn read(host: &mut Fields, reasons: &mut Vec<String>) -> Own {
    let mut own = Own::default();
    let Value::Array(devices) = host.take("Devices") else {
        return own;
    };
    for device in devices {
        let text = |name: &str| device.get(name).and_then(Value::as_str).unwrap_or_default();
        match node(text("PathOnHost"), text("PathInContainer")) {
            Ok(node) => {
                let kind = if node.character { 'c' } else { 'b' };
                let (major, minor, how) = (node.major, node.minor, text("CgroupPermissions"));
                match DeviceRule::parse(&format!("{kind} {major}:{minor} {how}")) {
                    Some(rule) => own.rules.push(rule),
                    None => reasons.push(not_given("HostConfig", "Devices", &device)),
                }
                own.nodes.push(node);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    own
}

/// The host's device as it is to be inside: with the host's own mode and owner, as Docker makes it.
fn node(host: &str, inside: &str) -> Result<Device, String> {
    let metadata =
        std::fs::metadata(host).map_err(|error| format!("the device {host} can't be looked at: {error}"))?;
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return Err(format!(
            "the lean engine takes single devices, and {host} is none"
        ));
    }
    let path = if inside.is_empty() { host } else { inside };
    if !path.starts_with('/') {
        return Err(format!("the device's path {path} is not an absolute one"));
    }
    Ok(Device {
        path: path.to_owned(),
        character: kind.is_char_device(),
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        user: metadata.uid(),
        group: metadata.gid(),
    })
}

/// The device nodes that Docker makes in every container.
pub(crate) fn devices() -> Vec<Device> {
    let nodes = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("tty", 5, 0),
        ("random", 1, 8),
        ("urandom", 1, 9),
    ];
    let device = |(name, major, minor): (&str, u32, u32)| Device {
        path: format!("/dev/{name}"),
        character: true,
        major,
        minor,
        mode: 0o666,
        user: 0,
        group: 0,
    };
    nodes.into_iter().map(device).collect()
}

/// The links that Docker makes beside them.
pub(crate) fn links() -> Vec<(String, String)> {
    let mut links = vec![
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    if std::path::Path::new("/proc/kcore").exists() {
        links.push(("/dev/core", "/proc/kcore"));
    }
    links
        .into_iter()
        .map(|(path, to)| (path.to_owned(), to.to_owned()))
        .collect()
}
