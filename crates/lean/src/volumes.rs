//! A template's own mounts: binds, named volumes and tmpfs.

use serde_json::Value;
use skep_spawner::{Mount, MountKind, MountOptions};

use crate::inspect::{Fields, not_given};

/// Reads them from the resolved list that `inspect` shows, and from `HostConfig` what that list leaves out.
pub(crate) fn read(inspect: &Value, host: &mut Fields, reasons: &mut Vec<String>) -> Vec<Mount> {
    let mut mounts = Vec::new();
    let asked = host.take("Mounts");
    host.ignore(&["Binds"]);
    for mount in inspect
        .get("Mounts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        match resolved(mount) {
            Ok(mount) => mounts.push(mount),
            Err(reason) => reasons.push(reason),
        }
    }
    for mount in asked.as_array().into_iter().flatten() {
        let options = ["BindOptions", "VolumeOptions", "TmpfsOptions"]
            .iter()
            .any(|name| {
                let options = mount.get(*name).and_then(Value::as_object);
                options.is_some_and(|options| options.values().any(|value| !value.is_null()))
            });
        let kind = mount.get("Type").and_then(Value::as_str);
        if options || !matches!(kind, Some("bind" | "volume")) {
            reasons.push(not_given("HostConfig", "Mounts", mount));
        }
    }
    if let Value::Object(tmpfs) = host.take("Tmpfs") {
        for (target, options) in tmpfs {
            match temporary(&target, options.as_str().unwrap_or_default()) {
                Ok(mount) => mounts.push(mount),
                Err(reason) => reasons.push(reason),
            }
        }
    }
    let kernels = |mount: &Mount| {
        let first = mount
            .target
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        matches!(first, "" | "dev" | "proc" | "sys")
            && !matches!(mount.target.as_str(), "/dev/shm" | "/dev/mqueue")
    };
    for mount in mounts.iter().filter(|mount| kernels(mount)) {
        reasons.push(format!("the lean engine does not mount over {}", mount.target));
    }
    mounts
}

fn resolved(mount: &Value) -> Result<Mount, String> {
    let text = |name: &str| mount.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, source, target) = (text("Type"), text("Source"), text("Destination"));
    let modes = text("Mode")
        .split(',')
        .filter(|mode| !matches!(*mode, "" | "ro" | "rw"));
    let usual_mode = modes.count() == 0;
    let usual_propagation = matches!(text("Propagation"), "" | "rprivate");
    let recursive = match kind {
        "bind" => true,
        "volume" => {
            let name = text("Name");
            if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!(
                    "the lean engine does not make a fresh copy of the anonymous volume at {target}"
                ));
            }
            if text("Driver") != "local" {
                return Err(format!(
                    "the lean engine does not mount the volume {name} of another driver than local"
                ));
            }
            true
        }
        _ => return Err(format!("the lean engine does not mount {kind} at {target}")),
    };
    if !usual_mode || !usual_propagation {
        let (mode, propagation) = (text("Mode"), text("Propagation"));
        return Err(format!(
            "the lean engine does not mount {target} with {mode} {propagation}"
        ));
    }
    let read_only = !mount.get("RW").and_then(Value::as_bool).unwrap_or(true);
    Ok(Mount {
        kind: MountKind::Bind {
            source: source.to_owned(),
            recursive,
        },
        target: target.to_owned(),
        options: MountOptions {
            read_only,
            ..MountOptions::default()
        },
    })
}

/// `--tmpfs PATH:OPTIONS`; Docker adds noexec, nosuid and nodev where nobody says otherwise.
fn temporary(target: &str, options: &str) -> Result<Mount, String> {
    let mut flags = MountOptions {
        no_suid: true,
        no_devices: true,
        no_exec: true,
        ..MountOptions::default()
    };
    let mut rest = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "exec" => flags.no_exec = false,
            "suid" => flags.no_suid = false,
            "dev" => flags.no_devices = false,
            "ro" => flags.read_only = true,
            "noexec" | "nosuid" | "nodev" | "rw" => {}
            sized
                if ["size=", "mode=", "uid=", "gid=", "nr_inodes="]
                    .iter()
                    .any(|name| sized.starts_with(name)) =>
            {
                rest.push(sized);
            }
            other => {
                return Err(format!(
                    "the lean engine does not mount a tmpfs at {target} with {other}"
                ));
            }
        }
    }
    Ok(Mount {
        kind: MountKind::Tmpfs {
            source: "tmpfs".to_owned(),
            options: rest.join(","),
        },
        target: target.to_owned(),
        options: flags,
    })
}
