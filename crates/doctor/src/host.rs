//! The host: disk, memory, rights to the data directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::report::Report;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Records, logs and accepted bodies take half a gigabyte by default.
const ENOUGH_FOR_DATA: u64 = GIB;
/// Layers of fresh containers come and go; a full disk stops every start.
const ENOUGH_FOR_DOCKER: u64 = 2 * GIB;
const ENOUGH_MEMORY: u64 = 512 * MIB;

pub(crate) fn examine(report: &mut Report, data: &Path, engine: Option<&Engine>) {
    data_directory(report, data);
    if let Some(root) = engine.and_then(|engine| engine.root.as_deref()) {
        docker_root(report, Path::new(root));
    }
    memory(report, engine.and_then(|engine| engine.memory));
}

fn data_directory(report: &mut Report, data: &Path) {
    let shown = data.display();
    let (existing, made) = match existing(data) {
        Some(existing) => existing,
        None => {
            return report.fail(
                "data",
                format!("{shown} has no place on this host"),
                "choose another --data-dir",
            );
        }
    };
    if rustix::fs::access(
        &existing,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )
    .is_err()
    {
        return report.fail(
            "data",
            format!(
                "{} can't be written to by this user: skep serve will not start",
                existing.display()
            ),
            "run skep as root, or choose another --data-dir",
        );
    }
    let will = if made { "" } else { " (skep serve will make it)" };
    match free(&existing) {
        Some(bytes) if bytes < ENOUGH_FOR_DATA => report.warn(
            "data",
            format!(
                "{shown}{will} has {} free: asynchronous invocations are refused once it is full",
                size(bytes)
            ),
            "free some space, choose another --data-dir, or keep less (--keep-bytes)",
        ),
        Some(bytes) => report.ok("data", format!("{shown}{will} has {} free", size(bytes))),
        None => report.warn(
            "data",
            format!("the file system of {shown} does not tell its space"),
            "look at `df`",
        ),
    }
}

fn docker_root(report: &mut Report, root: &Path) {
    // An engine in a virtual machine, or behind TCP, has its disk elsewhere.
    let Some(bytes) = root.exists().then(|| free(root)).flatten() else {
        return;
    };
    if bytes < ENOUGH_FOR_DOCKER {
        report.warn(
            "docker's disk",
            format!(
                "{} has {} free: a full one stops every start of a container",
                root.display(),
                size(bytes)
            ),
            "remove images that nobody uses: docker image prune",
        );
    } else {
        report.ok(
            "docker's disk",
            format!("{} has {} free", root.display(), size(bytes)),
        );
    }
}

fn memory(report: &mut Report, engine: Option<u64>) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(total) = engine.or_else(|| meminfo(&text, "MemTotal:")) else {
        return report.warn(
            "memory",
            "it can't be told how much there is",
            "set --memory-budget for skep serve",
        );
    };
    let available = meminfo(&text, "MemAvailable:").unwrap_or(total);
    let said = format!(
        "{} of {} are available to instances and everything else",
        size(available),
        size(total)
    );
    if available < ENOUGH_MEMORY {
        report.warn(
            "memory",
            said,
            "give functions small limits (docker create --memory), or set --memory-budget",
        );
    } else {
        report.ok("memory", said);
    }
}

/// A line of /proc/meminfo, in bytes.
fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

/// The nearest directory that is there already, and whether it is the wanted one itself.
fn existing(path: &Path) -> Option<(PathBuf, bool)> {
    let found = path.ancestors().find(|ancestor| ancestor.is_dir())?;
    Some((found.to_owned(), found == path))
}

fn free(path: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(path).ok()?;
    Some(status.f_bavail * status.f_frsize)
}

fn size(bytes: u64) -> String {
    if bytes >= GIB {
        format!("{:.1} GiB", bytes as f64 / GIB as f64)
    } else {
        format!("{} MiB", bytes / MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       24689000 kB\nMemAvailable:   12000000 kB\n";
        assert_eq!(meminfo(text, "MemAvailable:"), Some(12_000_000 * 1024));
        assert_eq!(meminfo(text, "SwapTotal:"), None);
    }

    #[test]
    fn a_data_directory_that_is_not_there_yet_is_judged_by_the_nearest_that_is() {
        let place = tempfile::tempdir().unwrap();
        let wanted = place.path().join("a/b");
        assert_eq!(existing(&wanted), Some((place.path().to_owned(), false)));
        let mut report = Report::default();
        data_directory(&mut report, &wanted);
        assert!(
            report.findings[0].finding.contains("skep serve will make it"),
            "{report:?}"
        );
    }
}
