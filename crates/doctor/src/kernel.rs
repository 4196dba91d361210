//! The kernel: what the lean engine needs of it; the docker engine needs nothing but Docker.

use std::fs;

use crate::report::Report;

/// `clone3` came with Linux 5.3, `openat2` with 5.6, closing many files at an exec with 5.11.
const LEAN_KERNEL: (u32, u32) = (5, 11);
/// Below this many open files a busy gateway refuses connections.
const ENOUGH_FILES: u64 = 8192;

pub(crate) fn examine(report: &mut Report) {
    let release = read("/proc/sys/kernel/osrelease");
    match number(&release) {
        Some(version) if version >= LEAN_KERNEL => report.ok("kernel", format!("Linux {release}")),
        Some(_) => report.warn(
            "kernel",
            format!("Linux {release}: functions run on the docker engine; the lean engine needs 5.11"),
            "nothing now; plan for a newer kernel",
        ),
        None => report.warn(
            "kernel",
            "not Linux, or /proc is hidden: only a Skep in a container beside the functions can serve http functions",
            "run skep with docker run -v /var/run/docker.sock:/var/run/docker.sock … skep",
        ),
    }
    features(report);
    files(report);
}

/// What is missing matters only for the lean engine, so nothing of it fails.
fn features(report: &mut Report) {
    let present = [
        (
            "overlayfs",
            read("/proc/filesystems")
                .split_whitespace()
                .any(|word| word == "overlay"),
        ),
        (
            "user namespaces",
            read("/proc/sys/user/max_user_namespaces")
                .parse::<u64>()
                .is_ok_and(|max| max > 0),
        ),
        (
            "seccomp",
            read("/proc/sys/kernel/seccomp/actions_avail").contains("errno"),
        ),
        ("network namespaces", fs::metadata("/proc/self/ns/net").is_ok()),
    ];
    let (there, missing): (Vec<_>, Vec<_>) = present.into_iter().partition(|(_, there)| *there);
    let names = |list: Vec<(&'static str, bool)>| {
        list.into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if missing.is_empty() {
        report.ok("kernel features", format!("{} are there", names(there)));
    } else {
        report.warn(
            "kernel features",
            format!(
                "{} can't be seen from here; the lean engine needs them",
                names(missing)
            ),
            "nothing: functions run all the same, on the docker engine",
        );
    }
}

fn files(report: &mut Report) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(maximum) if maximum < ENOUGH_FILES => report.warn(
            "open files",
            format!(
                "at most {maximum}, and each connection takes two: under load connections will be refused"
            ),
            "raise the hard limit (LimitNOFILE= in a systemd unit, --ulimit nofile= for a container)",
        ),
        Some(maximum) => report.ok(
            "open files",
            format!("up to {maximum}; skep serve raises its own limit to it"),
        ),
        None => report.ok("open files", "no limit"),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// The first two numbers of a release such as `6.1.0-18-amd64`.
fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_release_is_read_up_to_its_second_number() {
        assert_eq!(number("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(number("5.15.153.1-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(number(""), None);
    }
}
