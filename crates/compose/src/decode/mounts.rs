//! `volumes`, `tmpfs` and `devices` of a service.

use super::fields::{Context, Fields};
use super::units;
use crate::problem::Problem;
use crate::project::{Device, Mount};
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;

impl Fields<'_> {
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let mut mounts: Vec<Mount> = Vec::new();
        for (node, path) in self.items("volumes") {
            let mount = match &node.value {
                Value::Scalar(text) => short(self.context, text).map_err(|message| {
                    Problem::new(format!("\"{text}\" is not a mount: {message}"))
                        .at(&node.position, &path)
                        .hint("write \"name:/path\", \"./directory:/path:ro\", or type, source and target as a mapping")
                }),
                _ => long(self.context, node, &path),
            };
            match mount {
                Ok(mount) => {
                    if mounts.iter().any(|other| other.target() == mount.target()) {
                        self.context.refuse_at(
                            &node.position,
                            &path,
                            format!("something is mounted on {} already", mount.target()),
                        );
                    }
                    mounts.push(mount);
                }
                Err(problem) => self.context.refuse(problem),
            }
        }
        mounts
    }

    /// Paths with the options after their colon.
    pub(super) fn tmpfs(&self) -> BTreeMap<String, String> {
        self.one_or_more("tmpfs")
            .into_iter()
            .map(|text| match text.split_once(':') {
                Some((path, options)) => (path.to_owned(), options.to_owned()),
                None => (text, String::new()),
            })
            .collect()
    }

    pub(super) fn devices(&self) -> Vec<Device> {
        let mut devices = Vec::new();
        for (node, path) in self.items("devices") {
            let Some(text) = self.context.text(node, &path) else {
                continue;
            };
            let mut parts = text.split(':');
            let source = parts.next().unwrap_or_default().to_owned();
            let target = parts.next().unwrap_or(&source).to_owned();
            let permissions = parts.next().unwrap_or("rwm").to_owned();
            let known = permissions.chars().all(|letter| "rwm".contains(letter));
            if !target.starts_with('/') || !known || parts.next().is_some() {
                self.context.refuse(
                    Problem::new(format!("\"{text}\" is not a device"))
                        .at(&node.position, path)
                        .hint("write /dev/name, or /dev/here:/dev/there:rw"),
                );
                continue;
            }
            devices.push(Device {
                source,
                target,
                permissions,
            });
        }
        devices
    }

    /// A list's items with their paths.
    pub(super) fn items(&self, key: &'static str) -> Vec<(&Node, String)> {
        let Some((node, path)) = self.take(key) else {
            return Vec::new();
        };
        match &node.value {
            Value::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (item, format!("{path}[{index}]")))
                .collect(),
            _ => {
                self.context.refuse_at(
                    &node.position,
                    &path,
                    format!("expected a list, found {}", node.kind()),
                );
                Vec::new()
            }
        }
    }
}

/// `[SOURCE:]TARGET[:OPTIONS]`.
fn short(context: &Context<'_>, text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(String::from("it has more than three parts")),
    };
    if !target.starts_with('/') {
        return Err(format!("{target} is not an absolute path in the container"));
    }
    let target = target.to_owned();
    let (mut read_only, mut no_copy) = (false, false);
    let (mut propagation, mut selinux) = (None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "cached" | "delegated" | "consistent" => {}
            "nocopy" => no_copy = true,
            "z" | "Z" => selinux = Some(option.to_owned()),
            "shared" | "slave" | "private" | "rshared" | "rslave" | "rprivate" => {
                propagation = Some(option.to_owned());
            }
            _ => return Err(format!("{option} is not an option of a mount")),
        }
    }
    Ok(match source {
        Some("") => return Err(String::from("the source is empty")),
        Some(source) if source.starts_with(['/', '.', '~']) => Mount::Bind {
            source: context.path(source),
            target,
            read_only,
            create: true,
            propagation,
            selinux,
        },
        source => Mount::Volume {
            source: source.map(str::to_owned),
            target,
            read_only,
            no_copy,
        },
    })
}

fn long(context: &Context<'_>, node: &Node, path: &str) -> Result<Mount, Problem> {
    let missing = |what: &str| Problem::new(format!("{what} is missing")).at(&node.position, path);
    let fields = Fields::open(context, node, path)
        .ok_or_else(|| Problem::new("a mount is a text or a mapping").at(&node.position, path))?;
    let kind = fields.text("type");
    let source = fields.text("source");
    let target = fields.text("target");
    let read_only = fields.boolean("read_only").unwrap_or(false);
    fields.noted(&["consistency"], "only Docker Desktop once knew it");
    let (mut create, mut propagation, mut selinux) = (true, None, None);
    if let Some(bind) = fields.inner("bind") {
        create = bind.boolean("create_host_path").unwrap_or(true);
        propagation = bind.text("propagation");
        selinux = bind.word("selinux", &["z", "Z"]);
        bind.finish();
    }
    let mut no_copy = false;
    if let Some(volume) = fields.inner("volume") {
        no_copy = volume.boolean("nocopy").unwrap_or(false);
        volume.refused(
            &["subpath"],
            "a part of a volume cannot be mounted",
            "mount the volume whole, or give the part a volume of its own",
        );
        volume.finish();
    }
    let (mut size, mut mode) = (None, None);
    if let Some(tmpfs) = fields.inner("tmpfs") {
        size = tmpfs.bytes("size");
        mode = tmpfs.take("mode").and_then(|(node, path)| {
            context.parsed(node, &path, "an octal mode such as 1777", |text| {
                u32::from_str_radix(text.trim_start_matches("0o"), 8).ok()
            })
        });
        tmpfs.finish();
    }
    fields.finish();
    let kind = kind.ok_or_else(|| missing("type"))?;
    let target = target.ok_or_else(|| missing("target"))?;
    if !target.starts_with('/') {
        return Err(
            Problem::new(format!("{target} is not an absolute path in the container"))
                .at(&node.position, path),
        );
    }
    match kind.as_str() {
        "bind" => Ok(Mount::Bind {
            source: context.path(&source.ok_or_else(|| missing("source"))?),
            target,
            read_only,
            create,
            propagation,
            selinux,
        }),
        "volume" => Ok(Mount::Volume {
            source,
            target,
            read_only,
            no_copy,
        }),
        "tmpfs" => Ok(Mount::Tmpfs { target, size, mode }),
        other => Err(Problem::new(format!("the mount type {other} is not supported"))
            .at(&node.position, path)
            .hint("bind, volume and tmpfs are")),
    }
}

impl<'a> Fields<'a> {
    /// A mapping below this one.
    pub(super) fn inner(&self, key: &'static str) -> Option<Fields<'a>> {
        let (node, path) = self.take(key)?;
        Fields::open(self.context, node, &path)
    }

    /// A size in bytes below `key`, kept here beside its only other user.
    pub(super) fn size_or_unlimited(&self, key: &'static str) -> Option<i64> {
        let (node, path) = self.take(key)?;
        self.context
            .parsed(node, &path, "a size such as 64m, or -1", |text| {
                if text == "-1" {
                    Some(-1)
                } else {
                    units::bytes(text)
                }
            })
    }
}
