//! Limits as the files of cgroup v1.

use super::{Asked, Setting};

pub(super) fn settings(asked: &Asked, reasons: &mut Vec<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, text: String| settings.push(Setting::new(controller, file, text));
    let mut positive = |controller, file, value: i64| {
        if value > 0 {
            set(controller, file, value.to_string());
        }
    };
    positive("memory", "memory.limit_in_bytes", asked.memory);
    positive("memory", "memory.memsw.limit_in_bytes", asked.memory_and_swap);
    positive("memory", "memory.soft_limit_in_bytes", asked.reservation);
    positive("pids", "pids.max", asked.pids.unwrap_or_default());
    positive("cpu", "cpu.shares", asked.shares);
    positive("cpu", "cpu.cfs_period_us", asked.period);
    positive("cpu", "cpu.cfs_quota_us", asked.quota);
    if asked.never_killed {
        set("memory", "memory.oom_control", "1".to_owned());
    }
    for (file, text) in [
        ("cpuset.cpus", &asked.processors),
        ("cpuset.mems", &asked.memory_nodes),
    ] {
        if !text.is_empty() {
            set("cpuset", file, text.clone());
        }
    }
    if asked.weight > 0 {
        reasons.push("the lean engine does not give --blkio-weight on cgroup v1".to_owned());
    }
    settings
}
