//! What is mounted over an instance's root: what every container has, and what the template adds.

use serde_json::Value;
use skep_spawner::{Mount, MountKind, MountOptions};

use super::volumes::{self, Volume};
use crate::inspect::Fields;

/// The numbers of the files that every instance gets of its own.
pub(crate) const FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];

const PLAIN: MountOptions = MountOptions {
    read_only: false,
    read_only_below: false,
    no_suid: true,
    no_devices: true,
    no_exec: true,
    strict_access_times: false,
};

/// All mounts of a template, and the volumes among them that have a name. `read_only_below` says that the engine
/// makes what is mounted below a read-only mount read-only too.
pub(super) fn read(
    inspect: &Value,
    config: &mut Fields,
    host: &mut Fields,
    (read_only_root, read_only_below): (bool, bool),
    reasons: &mut Vec<String>,
) -> (Vec<Mount>, Vec<Volume>) {
    let shared_memory = match host.number("ShmSize") {
        size if size > 0 => size,
        _ => 64 << 20,
    };
    let mut all = usual(Some(shared_memory));
    match host.text("IpcMode").as_str() {
        "" | "private" | "shareable" => {}
        "none" => all = usual(None),
        other => reasons.push(format!(
            "the lean engine does not share System V IPC (--ipc {other})"
        )),
    }
    let mut own = volumes::read(inspect, config, host, read_only_below, reasons);
    let files = FILES.into_iter().enumerate().map(|(index, path)| Mount {
        kind: MountKind::File(index),
        target: path.to_owned(),
        options: MountOptions {
            read_only: read_only_root,
            ..MountOptions::default()
        },
    });
    let unnamed = files.filter(|file| own.mounts.iter().all(|mount| mount.target != file.target));
    let unnamed: Vec<Mount> = unnamed.collect();
    own.mounts.extend(unnamed);
    // As Docker: the shorter path first, so that none hides another.
    own.mounts.sort_by_key(|mount| mount.target.split('/').count());
    all.retain(|usual| own.mounts.iter().all(|mount| mount.target != usual.target));
    all.extend(own.mounts);
    (all, own.named)
}

/// What Docker mounts in every container, whose shared memory has this size.
pub(crate) fn usual(shared_memory: Option<i64>) -> Vec<Mount> {
    let mount = |kind, target: &str, options| Mount {
        kind,
        target: target.to_owned(),
        options,
    };
    let terminals = MountOptions {
        no_devices: false,
        ..PLAIN
    };
    let devices = MountOptions {
        no_suid: true,
        strict_access_times: true,
        ..MountOptions::default()
    };
    let memory = |source: &str, options: String| MountKind::Tmpfs {
        source: source.to_owned(),
        options,
    };
    let read_only = MountOptions {
        read_only: true,
        ..PLAIN
    };
    let mut all = vec![
        mount(MountKind::Proc, "/proc", PLAIN),
        mount(
            memory("tmpfs", "mode=755,size=65536k".to_owned()),
            "/dev",
            devices,
        ),
        mount(MountKind::DevPts, "/dev/pts", terminals),
        mount(MountKind::Sysfs, "/sys", read_only),
        mount(MountKind::Cgroup, "/sys/fs/cgroup", read_only),
        mount(MountKind::Mqueue, "/dev/mqueue", PLAIN),
    ];
    if let Some(size) = shared_memory {
        all.push(mount(
            memory("shm", format!("mode=1777,size={size}")),
            "/dev/shm",
            PLAIN,
        ));
    }
    all
}
