//! A template's own mounts: binds, volumes with and without a name, and tmpfs.

use std::collections::BTreeSet;

use serde_json::Value;
use skep_spawner::{Mount, MountKind, MountOptions, Propagation};

use super::paths::clean;
use super::{propagation, tmpfs};
use crate::inspect::{Fields, is_neutral, not_given};

/// What a template mounts of its own.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) mounts: Vec<Mount>,
    pub(super) named: Vec<Volume>,
}

/// A volume that has a name, and so is the same one for every instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) target: String,
    /// Whether it stays empty where the image has files.
    pub(crate) empty: bool,
}

/// Words in a mount's mode that say nothing about what is mounted: how it is written, that nothing is copied (nothing
/// is, by then), SELinux labels (there is no SELinux where lean is used), and what only Docker for Mac knows.
const NEUTRAL_MODES: [&str; 9] = [
    "",
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
    "consistent",
    "cached",
    "delegated",
];

/// What is known of `--mount type=bind`.
const BIND_OPTIONS: [&str; 5] = [
    "Propagation",
    "CreateMountpoint",
    "NonRecursive",
    "ReadOnlyNonRecursive",
    "ReadOnlyForceRecursive",
];

/// Reads them from the resolved list that `inspect` shows, and from `HostConfig` what that list leaves out.
pub(super) fn read(
    inspect: &Value,
    config: &mut Fields,
    host: &mut Fields,
    read_only_below: bool,
    reasons: &mut Vec<String>,
) -> Own {
    let mut own = Own::default();
    let asked = host.take("Mounts");
    let binds = host.texts("Binds");
    // `-v` makes a folder that isn't there on the host, `--mount` does not.
    // Both are resolved by Docker to the shortest way of writing them.
    let part = |index| move |bind: &String| bind.split(':').nth(index).map(clean);
    let made: BTreeSet<String> = binds.iter().filter_map(part(0)).collect();
    let mut named_targets: BTreeSet<String> = binds.iter().filter_map(part(1)).collect();
    let asked: Vec<&Value> = asked.as_array().into_iter().flatten().collect();
    for mount in &asked {
        match Asked::read(mount) {
            Ok(Asked::Temporary(mount)) => own.mounts.push(mount),
            Ok(Asked::Named(target)) => drop(named_targets.insert(clean(target))),
            Ok(Asked::Unnamed) => {}
            Err(reason) => reasons.push(reason),
        }
    }
    let resolved = inspect.get("Mounts").and_then(Value::as_array);
    for mount in resolved.into_iter().flatten() {
        match self::resolved(mount, &named_targets, &made) {
            Ok(Some((mut mount, volume))) => {
                let options = asked.iter().find(|asked| at(asked) == mount.target);
                let bind = options.and_then(|asked| asked.get("BindOptions"));
                let empty = options.and_then(|asked| asked.pointer("/VolumeOptions/NoCopy")?.as_bool());
                if let Err(reason) = narrow(&mut mount, bind, read_only_below) {
                    reasons.push(reason);
                }
                own.mounts.push(mount);
                own.named.extend(volume.map(|volume| Volume {
                    empty: volume.empty || empty.unwrap_or_default(),
                    ..volume
                }));
            }
            Ok(None) => {}
            Err(reason) => reasons.push(reason),
        }
    }
    config.ignore(&["Volumes"]);
    if let Value::Object(tmpfs) = host.take("Tmpfs") {
        for (target, options) in tmpfs {
            match tmpfs::read(&target, options.as_str().unwrap_or_default()) {
                Ok(mount) => own.mounts.push(mount),
                Err(reason) => reasons.push(reason),
            }
        }
    }
    for mount in own.mounts.iter().filter(|mount| is_kernels(&mount.target)) {
        reasons.push(format!("the lean engine does not mount over {}", mount.target));
    }
    own
}

/// Whether a path is one of the kernel's own file systems, which have their own mounts.
fn is_kernels(target: &str) -> bool {
    let mut parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
    let first = parts.next().unwrap_or_default();
    matches!(first, "" | "dev" | "proc" | "sys" | "..") && !matches!(target, "/dev/shm" | "/dev/mqueue")
        || target.split('/').any(|part| part == "..")
}

/// One entry of `HostConfig.Mounts` (`--mount`).
enum Asked<'a> {
    Temporary(Mount),
    /// A bind, or a volume with a name; resolved elsewhere.
    Named(&'a str),
    /// A volume without a name.
    Unnamed,
}

impl<'a> Asked<'a> {
    fn read(mount: &'a Value) -> Result<Self, String> {
        let text = |name: &str| mount.get(name).and_then(Value::as_str).unwrap_or_default();
        let refused = || not_given("HostConfig", "Mounts", mount);
        match text("Type") {
            "bind" if is_plain(mount, "BindOptions", &BIND_OPTIONS) => Ok(Self::Named(text("Target"))),
            // Labels and driver only say how Docker made the volume.
            "volume" if is_plain(mount, "VolumeOptions", &["Labels", "DriverConfig", "NoCopy"]) => {
                let says = |path: &str| mount.pointer(path).is_some_and(|value| !is_neutral(value));
                let special = says("/VolumeOptions/NoCopy") || says("/VolumeOptions/DriverConfig/Options");
                match text("Source") {
                    "" if special => Err(format!(
                        "the volume without a name at {} has options, and for the lean engine it is but a copy of what \
                         the image has there",
                        text("Target")
                    )),
                    "" => Ok(Self::Unnamed),
                    _ => Ok(Self::Named(text("Target"))),
                }
            }
            "tmpfs" if is_plain(mount, "TmpfsOptions", &["SizeBytes", "Mode"]) => {
                let mut options = Vec::new();
                let number = |name: &str| {
                    mount
                        .pointer(&format!("/TmpfsOptions/{name}"))
                        .and_then(Value::as_u64)
                };
                options.extend(number("SizeBytes").map(|bytes| format!("size={bytes}")));
                options.extend(number("Mode").map(|mode| format!("mode={mode:o}")));
                let read_only = mount.get("ReadOnly").and_then(Value::as_bool).unwrap_or(false);
                options.extend(read_only.then(|| "ro".to_owned()));
                tmpfs::read(text("Target"), &options.join(",")).map(Self::Temporary)
            }
            _ => Err(refused()),
        }
    }
}

fn at(mount: &Value) -> String {
    clean(mount.get("Target").and_then(Value::as_str).unwrap_or_default())
}

/// How far down a mount is shown, and how far down it can't be written, as Docker decides it.
pub(super) fn narrow(
    mount: &mut Mount,
    options: Option<&Value>,
    read_only_below: bool,
) -> Result<(), String> {
    let asks = |name: &str| {
        options
            .and_then(|options| options.get(name)?.as_bool())
            .unwrap_or_default()
    };
    let MountKind::Bind {
        recursive,
        propagation,
        ..
    } = &mut mount.kind
    else {
        return Ok(());
    };
    *recursive = !asks("NonRecursive");
    let named = options.and_then(|options| options.get("Propagation")?.as_str());
    propagation.strict |= named.is_some_and(propagation::can_fail);
    if asks("ReadOnlyForceRecursive") && !read_only_below {
        return Err(format!(
            "this engine does not make what is mounted below {} read-only (bind-recursive=readonly)",
            mount.target
        ));
    }
    mount.options.read_only_below =
        mount.options.read_only && read_only_below && !asks("ReadOnlyNonRecursive");
    Ok(())
}

/// Whether a mount's options hold nothing beside what is known.
fn is_plain(mount: &Value, options: &str, known: &[&str]) -> bool {
    let options = mount.get(options).and_then(Value::as_object);
    options
        .into_iter()
        .flatten()
        .all(|(name, value)| known.contains(&name.as_str()) || is_neutral(value))
}

/// One entry of the resolved list; `None` for what is read elsewhere.
pub(super) fn resolved(
    mount: &Value,
    named_targets: &BTreeSet<String>,
    made: &BTreeSet<String>,
) -> Result<Option<(Mount, Option<Volume>)>, String> {
    let text = |name: &str| mount.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, source, target) = (text("Type"), text("Source"), text("Destination"));
    let refused = || {
        let (mode, propagation) = (text("Mode"), text("Propagation"));
        format!("the lean engine does not mount {target} with {mode} {propagation}")
    };
    let usual_mode =
        |mode: &str| NEUTRAL_MODES.contains(&mode) || (kind == "bind" && mode == text("Propagation"));
    if !text("Mode").split(',').all(usual_mode) {
        return Err(refused());
    }
    let mut later = propagation::read(text("Propagation")).ok_or_else(refused)?;
    later.strict = text("Mode").split(',').any(propagation::can_fail);
    let read_only = !mount.get("RW").and_then(Value::as_bool).unwrap_or(true);
    let options = MountOptions {
        read_only,
        ..MountOptions::default()
    };
    let (kind, volume) = match kind {
        "bind" => {
            let create = made.contains(source);
            (bind(source, create, later), None)
        }
        "volume" if text("Driver") != "local" => {
            let name = text("Name");
            return Err(format!(
                "the lean engine does not mount the volume {name} of another driver than local"
            ));
        }
        "volume" if named_targets.contains(target) => {
            let volume = Volume {
                name: text("Name").to_owned(),
                target: target.to_owned(),
                empty: text("Mode").split(',').any(|word| word == "nocopy"),
            };
            (bind(source, false, later), Some(volume))
        }
        "volume" => (MountKind::Fresh, None),
        "tmpfs" => return Ok(None),
        _ => return Err(format!("the lean engine does not mount {kind} at {target}")),
    };
    let target = target.to_owned();
    Ok(Some((
        Mount {
            kind,
            target,
            options,
        },
        volume,
    )))
}

fn bind(source: &str, create: bool, propagation: Propagation) -> MountKind {
    MountKind::Bind {
        source: source.to_owned(),
        recursive: true,
        create,
        propagation,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The options of one bind at `/b`, and whether it is shown with what is mounted below.
    fn bind(
        asked: Value,
        writable: bool,
        read_only_below: bool,
    ) -> Result<(bool, MountOptions), Vec<String>> {
        let inspect =
            json!({"Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "RW": writable}]});
        let asked =
            json!({"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": asked}]});
        let (mut config, mut host) = (
            Fields::new("Config", None),
            Fields::new("HostConfig", Some(asked)),
        );
        let mut reasons = Vec::new();
        let own = read(&inspect, &mut config, &mut host, read_only_below, &mut reasons);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        match &own.mounts[..] {
            [
                Mount {
                    kind: MountKind::Bind { recursive, .. },
                    options,
                    ..
                },
            ] => Ok((*recursive, *options)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bind_is_the_same_however_its_ends_are_written() {
        let inspect = json!({"Mounts": [
            {"Type": "bind", "Source": "/a", "Destination": "/b", "RW": true, "Propagation": "rprivate"},
            {"Type": "bind", "Source": "/new", "Destination": "/c", "RW": true, "Propagation": "rprivate"},
        ]});
        let asked = json!({
            "Binds": ["/./new/:/c/"],
            "Mounts": [{"Type": "bind", "Source": "/a", "Target": "//b/", "BindOptions": {"NonRecursive": true}}],
        });
        let (mut config, mut host) = (
            Fields::new("Config", None),
            Fields::new("HostConfig", Some(asked)),
        );
        let own = read(&inspect, &mut config, &mut host, false, &mut Vec::new());
        let seen = own.mounts.iter().map(|mount| match mount.kind {
            MountKind::Bind {
                recursive, create, ..
            } => (recursive, create),
            _ => panic!("{mount:?}"),
        });
        assert_eq!(seen.collect::<Vec<_>>(), [(false, false), (true, true)]);
    }

    #[test]
    fn a_read_only_bind_is_so_with_all_below_where_the_engine_does_that_and_nobody_objects() {
        let cases = [
            (json!({}), false, true, (true, true, true)),
            (json!({}), false, false, (true, true, false)),
            (json!({}), true, true, (true, false, false)),
            (
                json!({"ReadOnlyNonRecursive": true}),
                false,
                true,
                (true, true, false),
            ),
            (
                json!({"ReadOnlyForceRecursive": true}),
                false,
                true,
                (true, true, true),
            ),
            (json!({"NonRecursive": true}), false, true, (false, true, true)),
        ];
        for (asked, writable, below, expected) in cases {
            let (recursive, options) = bind(asked.clone(), writable, below).unwrap();
            assert_eq!(
                (recursive, options.read_only, options.read_only_below),
                expected,
                "{asked}"
            );
        }
        let reasons = bind(json!({"ReadOnlyForceRecursive": true}), false, false).unwrap_err();
        assert!(reasons[0].contains("bind-recursive=readonly"), "{reasons:?}");
        assert!(bind(json!({"Surprise": true}), false, true).is_err());
    }
}
