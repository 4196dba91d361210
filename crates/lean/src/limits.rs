//! A template's limits as what is written into cgroups (v1).

use crate::host::Hierarchy;
use crate::inspect::Fields;

/// What Docker lets every container use: null, zero, full, random, urandom, tty, console, and its own terminals.
const DEVICES: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Files and texts, for the hierarchy with the controller.
pub(crate) struct Setting {
    pub(crate) controller: &'static str,
    pub(crate) file: &'static str,
    pub(crate) text: String,
}

/// Reads the limits out of a template's `HostConfig`.
pub(crate) fn read(host: &mut Fields) -> Vec<Setting> {
    let mut settings = vec![Setting {
        controller: "devices",
        file: "devices.deny",
        text: "a".to_owned(),
    }];
    let mut set = |controller, file, text| {
        settings.push(Setting {
            controller,
            file,
            text,
        })
    };
    for device in DEVICES {
        set("devices", "devices.allow", device.to_owned());
    }
    let (memory, swap) = (host.number("Memory"), host.number("MemorySwap"));
    if memory > 0 {
        set("memory", "memory.limit_in_bytes", memory.to_string());
    }
    if swap > 0 {
        set("memory", "memory.memsw.limit_in_bytes", swap.to_string());
    }
    let reservation = host.number("MemoryReservation");
    if reservation > 0 {
        set("memory", "memory.soft_limit_in_bytes", reservation.to_string());
    }
    if host.flag("OomKillDisable") {
        set("memory", "memory.oom_control", "1".to_owned());
    }
    let pids = host.number("PidsLimit");
    if pids > 0 {
        set("pids", "pids.max", pids.to_string());
    }
    let shares = host.number("CpuShares");
    if shares > 0 {
        set("cpu", "cpu.shares", shares.to_string());
    }
    let (mut period, mut quota) = (host.number("CpuPeriod"), host.number("CpuQuota"));
    let nano = host.number("NanoCpus");
    if nano > 0 {
        (period, quota) = (100_000, nano / 10_000);
    }
    if period > 0 {
        set("cpu", "cpu.cfs_period_us", period.to_string());
    }
    if quota > 0 {
        set("cpu", "cpu.cfs_quota_us", quota.to_string());
    }
    settings
}

/// The settings of one hierarchy.
pub(crate) fn of(hierarchy: &Hierarchy, settings: &[Setting]) -> Vec<(String, String)> {
    let here = |setting: &&Setting| {
        hierarchy
            .controllers
            .iter()
            .any(|known| known == setting.controller)
    };
    settings
        .iter()
        .filter(here)
        .map(|setting| (setting.file.to_owned(), setting.text.clone()))
        .collect()
}
