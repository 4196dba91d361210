//! What a child may mount: named volumes that were granted, fresh anonymous ones, memory, and its own socket.

use serde_json::{Value, json};
use skep_model::Spawn;

use crate::SOCKET;
use crate::fields::{Fields, wrong};
use crate::json::Json;
use crate::refusal::Refusal;
use crate::tables::{Neutral, Row};

/// The most mounts of a child: each may be a volume of its own, which the engine keeps files for.
pub(crate) const MOST: usize = 64;

/// The mounts of a child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Whether it asks for a socket of its own.
    pub socket: bool,
    /// `VOLUME:TARGET[:ro]`
    pub binds: Vec<String>,
    volumes: Vec<Volume>,
    /// Target and options.
    tmpfs: Vec<(String, String)>,
    memory: Vec<(String, Option<i64>, Option<i64>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Volume {
    name: String,
    target: String,
    read_only: bool,
    no_copy: bool,
}

#[rustfmt::skip]
const VOLUME_OPTIONS: &[Row] = &[
    // A driver's options can bind any folder of the host.
    ("DriverConfig", &[Neutral::NoKeys], "no grant of skep.spawn chooses a volume's driver"),
    ("Labels",       &[Neutral::NoKeys], "no grant of skep.spawn labels volumes"),
    ("Subpath",      &[Neutral::Empty],  "this socket gives whole volumes"),
];

#[rustfmt::skip]
const MOUNT: &[Row] = &[
    ("Consistency",   &[Neutral::Empty, Neutral::Word("default")], "this socket does not know that"),
    ("BindOptions",   &[Neutral::NoKeys], "no grant of skep.spawn binds folders of the host"),
    ("ClusterOptions", &[Neutral::NoKeys], "this socket knows no cluster volumes"),
    ("ImageOptions",  &[Neutral::NoKeys], "this socket mounts no images"),
];

impl Mounts {
    /// Reads `HostConfig.Binds`, `.Mounts` and `.Tmpfs`.
    pub(crate) fn read(host: &mut Fields, spawn: &Spawn) -> Result<Self, Refusal> {
        let mut mounts = Self::default();
        for bind in host.texts("Binds")? {
            mounts.bind(&bind, spawn)?;
        }
        for mount in host.list("Mounts")? {
            mounts.mount(mount, spawn)?;
        }
        for (target, options) in host.pairs("Tmpfs")? {
            mounts
                .tmpfs
                .push((self::target(&target)?, tmpfs_options(&options)?));
        }
        Ok(mounts)
    }

    fn bind(&mut self, bind: &str, spawn: &Spawn) -> Result<(), Refusal> {
        let parts: Vec<&str> = bind.split(':').collect();
        let (source, target, mode) = match parts.as_slice() {
            [source, target] => (*source, *target, ""),
            [source, target, mode] => (*source, *target, *mode),
            _ => {
                return Err(Refusal::malformed(format!(
                    "HostConfig.Binds: {bind:?} is no bind"
                )));
            }
        };
        if source == SOCKET {
            return self.own_socket(target);
        }
        let mut kept = Vec::new();
        for word in mode.split(',').filter(|word| !word.is_empty()) {
            match word {
                // Labels of SELinux and propagation say nothing for a volume.
                "rw" | "z" | "Z" => {}
                "ro" | "nocopy" => kept.push(word),
                _ => {
                    return Err(Refusal::forbidden(format!(
                        "HostConfig.Binds: {bind:?}: the mode {word} is not one that a child can have"
                    )));
                }
            }
        }
        granted(source, spawn)?;
        let target = self::target(target)?;
        let mode = if kept.is_empty() {
            String::new()
        } else {
            format!(":{}", kept.join(","))
        };
        self.binds.push(format!("{source}:{target}{mode}"));
        Ok(())
    }

    fn own_socket(&mut self, target: &str) -> Result<(), Refusal> {
        if target != SOCKET && target != "/run/docker.sock" {
            return Err(Refusal::forbidden(format!(
                "a child finds its socket at {SOCKET} and nowhere else"
            )));
        }
        self.socket = true;
        Ok(())
    }

    fn mount(&mut self, mount: Json, spawn: &Spawn) -> Result<(), Refusal> {
        let mut mount = Fields::of("HostConfig.Mounts", mount)?;
        let (kind, source) = (mount.text("Type")?, mount.text("Source")?);
        let (place, read_only) = (mount.text("Target")?, mount.flag("ReadOnly")?);
        if kind == "bind" && source == SOCKET {
            mount.take("BindOptions");
            mount.neutral(MOUNT)?;
            mount.finish()?;
            return self.own_socket(&place);
        }
        let target = target(&place)?;
        let mut volume = mount.object("VolumeOptions")?;
        let mut tmpfs = mount.object("TmpfsOptions")?;
        match kind.as_str() {
            "volume" => {
                if !source.is_empty() {
                    granted(&source, spawn)?;
                }
                let no_copy = volume.flag("NoCopy")?;
                let name = source;
                self.volumes.push(Volume {
                    name,
                    target,
                    read_only,
                    no_copy,
                });
            }
            "tmpfs" => {
                let size = tmpfs.bounded("SizeBytes", 0..=i64::MAX, "a size is not negative")?;
                let mode = tmpfs.bounded("Mode", 0..=0o7777, "a mode is at most 07777")?;
                tmpfs.neutral(&[("Options", &[Neutral::NoItems], "use --tmpfs for options")])?;
                self.memory.push((target, size, mode));
            }
            "bind" => {
                return Err(Refusal::forbidden(format!(
                    "a mount of {source:?}: no grant of skep.spawn binds folders of the host"
                )));
            }
            other => {
                return Err(Refusal::forbidden(format!(
                    "mounts of type {other:?} are not given through this socket; volume and tmpfs are"
                )));
            }
        }
        volume.neutral(VOLUME_OPTIONS)?;
        volume.finish()?;
        tmpfs.finish()?;
        mount.neutral(MOUNT)?;
        mount.finish()
    }

    pub(crate) fn len(&self) -> usize {
        self.binds.len() + self.volumes.len() + self.tmpfs.len() + self.memory.len()
    }

    /// Whether it mounts volumes that have a name: they are their node's.
    pub(crate) fn has_volumes(&self) -> bool {
        !self.binds.is_empty() || self.volumes.iter().any(|volume| !volume.name.is_empty())
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `HostConfig.Mounts` for the daemon.
    pub(crate) fn listed(&self) -> Vec<Value> {
        let volumes = self.volumes.iter().map(|volume| {
            json!({
                "Type": "volume", "Source": volume.name, "Target": volume.target, "ReadOnly": volume.read_only,
                "VolumeOptions": { "NoCopy": volume.no_copy },
            })
        });
        let memory = self.memory.iter().map(|(target, size, mode)| {
            let mut options = serde_json::Map::new();
            options.extend(size.map(|size| ("SizeBytes".to_owned(), size.into())));
            options.extend(mode.map(|mode| ("Mode".to_owned(), mode.into())));
            json!({ "Type": "tmpfs", "Target": target, "TmpfsOptions": options })
        });
        volumes.chain(memory).collect()
    }

    /// `HostConfig.Tmpfs` for the daemon.
    pub(crate) fn in_memory(&self) -> Value {
        let pairs = self.tmpfs.iter();
        Value::Object(
            pairs
                .map(|(target, options)| (target.clone(), options.as_str().into()))
                .collect(),
        )
    }
}

fn granted(name: &str, spawn: &Spawn) -> Result<(), Refusal> {
    if name.contains('/') || name.starts_with('.') || name.starts_with('~') {
        return Err(Refusal::forbidden(format!(
            "a bind of {name:?}: no grant of skep.spawn binds folders of the host"
        )));
    }
    if spawn.volumes.iter().any(|volume| volume == name) {
        return Ok(());
    }
    Err(Refusal::forbidden(format!(
        "the volume {name:?} is not granted; skep.spawn.volumes names those that are"
    )))
}

/// A place inside of a child: absolute, and written in one way.
pub(crate) fn target(text: &str) -> Result<String, Refusal> {
    let parts = text.strip_prefix('/').map(|rest| rest.trim_end_matches('/'));
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match parts {
        Some(parts) if matches!(parts.split('/').next(), Some("proc" | "sys")) => Err(Refusal::forbidden(
            format!("{text:?}: what the kernel says of itself there is not a child's to cover"),
        )),
        Some(parts) if parts.split('/').all(plain) && !text.contains([':', ',', '\0', '\n']) => {
            Ok(format!("/{parts}"))
        }
        _ => Err(Refusal::malformed(format!(
            "{text:?} is no absolute path to mount at"
        ))),
    }
}

fn tmpfs_options(text: &str) -> Result<String, Refusal> {
    let mut kept = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let plain = |value: &str| {
            !value.is_empty()
                && value
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'%')
        };
        let known = match option.split_once('=') {
            None => matches!(
                option,
                "rw" | "ro" | "exec" | "noexec" | "suid" | "nosuid" | "nodev" | "sync" | "async"
            ),
            Some((name, value)) => {
                matches!(name, "size" | "mode" | "uid" | "gid" | "nr_inodes") && plain(value)
            }
        };
        if !known {
            return Err(Refusal::forbidden(format!(
                "HostConfig.Tmpfs: the option {option:?} is not one that a child can have"
            )));
        }
        kept.push(option);
    }
    Ok(kept.join(","))
}

/// Anonymous volumes, `Volumes` of the create body.
pub(crate) fn anonymous(config: &mut Fields) -> Result<Vec<String>, Refusal> {
    let places = config.set("Volumes")?;
    if places.len() > MOST {
        return Err(Refusal::forbidden(format!("Volumes: at most {MOST}")));
    }
    places.iter().map(|place| target(place)).collect()
}

/// A set as Go writes it.
pub(crate) fn as_set(keys: &[String]) -> Value {
    Value::Object(keys.iter().map(|key| (key.clone(), json!({}))).collect())
}

/// Ports as `80/tcp`, or `8000-8010/tcp`.
pub(crate) fn port(text: &str) -> Result<String, Refusal> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let is_port = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if is_port(first) && is_port(last) && matches!(protocol, "tcp" | "udp" | "sctp") {
        Ok(format!("{numbers}/{protocol}"))
    } else {
        Err(wrong(
            "ExposedPorts",
            "ports such as 80/tcp",
            &Json::Text(text.to_owned()),
        ))
    }
}
