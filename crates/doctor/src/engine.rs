//! The engine: whether it answers, how old it is, whether its containers can be reached from here.

use bollard::Docker;
use bollard::models::SystemInfo;
use jiff::{SignedDuration, Timestamp};
use skep_docker::{Config, ConnectError, DockerEngine, connect_client};

use crate::queue;
use crate::report::Report;

/// The API version of Docker 20.10, the oldest engine that Skep is tested with.
const OLDEST_API: (u32, u32) = (1, 41);
/// Clocks that differ by more make logs and records hard to read beside each other.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

/// What other checks want to know of the engine.
pub(crate) struct Engine {
    pub(crate) root: Option<String>,
    pub(crate) memory: Option<u64>,
}

pub(crate) async fn examine(report: &mut Report, docker_host: Option<&str>) -> Option<Engine> {
    let docker = match connect_client(docker_host).await {
        Ok(docker) => docker,
        Err(error) => {
            unreachable(report, &error);
            return None;
        }
    };
    version(report, &docker).await;
    let info = match docker.info().await {
        Ok(info) => info,
        Err(error) => {
            report.fail(
                "engine",
                format!("it does not say what it is: {error}"),
                "check `docker info`",
            );
            return None;
        }
    };
    storage(report, &info);
    restart(report, &info);
    clock(report, &info);
    cgroup(report, &info);
    lean(report, &docker).await;
    reach(report, docker_host).await;
    queue::examine(report, &docker, &info).await;
    Some(Engine {
        root: info.docker_root_dir,
        memory: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()),
    })
}

fn unreachable(report: &mut Report, error: &ConnectError) {
    // Its own message says what to do already, after the semicolon.
    let text = error.to_string();
    let (finding, advice) = text
        .split_once("; ")
        .unwrap_or((&text, "start Docker, or set DOCKER_HOST"));
    report.fail("engine", format!("{finding}: no function can run"), advice);
}

async fn version(report: &mut Report, docker: &Docker) {
    let Ok(version) = docker.version().await else {
        return report.fail("engine", "it does not tell its version", "check `docker version`");
    };
    let release = version
        .version
        .unwrap_or_else(|| "of an unknown version".to_owned());
    let api = version.api_version.unwrap_or_default();
    let said = format!("Docker {release} answers (API {api})");
    if parsed(&api) >= Some(OLDEST_API) {
        report.ok("engine", said);
    } else {
        report.fail(
            "engine",
            format!("{said}, which is older than what Skep is made for"),
            "update Docker to 20.10 or newer",
        );
    }
}

fn parsed(api: &str) -> Option<(u32, u32)> {
    let (major, minor) = api.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn storage(report: &mut Report, info: &SystemInfo) {
    let driver = info.driver.as_deref().unwrap_or("unknown");
    match driver {
        "overlay2" | "overlayfs" | "btrfs" | "zfs" | "stargz" => {
            report.ok(
                "storage",
                format!("{driver}: a fresh container shares its image's files"),
            );
        }
        _ => report.warn(
            "storage",
            format!("{driver}: every fresh container copies its image, which makes each request slow"),
            "configure Docker's overlay2 storage driver",
        ),
    }
}

fn restart(report: &mut Report, info: &SystemInfo) {
    if info.live_restore_enabled == Some(true) {
        report.ok("live-restore", "on: instances outlive a restart of Docker itself");
    } else {
        report.warn(
            "live-restore",
            "off: restarting Docker ends every running instance; asynchronous invocations are run again afterwards",
            "set \"live-restore\": true in /etc/docker/daemon.json, unless this node is in a Swarm",
        );
    }
}

fn clock(report: &mut Report, info: &SystemInfo) {
    let Some(theirs) = info
        .system_time
        .as_deref()
        .and_then(|text| text.parse::<Timestamp>().ok())
    else {
        return report.warn(
            "clock",
            "the engine does not tell its time",
            "compare `docker info` with `date`",
        );
    };
    let skew = Timestamp::now().duration_since(theirs).abs();
    if skew <= SKEW {
        report.ok("clock", "the engine's and this host's agree");
    } else {
        report.warn(
            "clock",
            format!(
                "the engine's differs from this host's by {} s: times in logs won't match",
                skew.as_secs()
            ),
            "synchronise both with NTP",
        );
    }
}

fn cgroup(report: &mut Report, info: &SystemInfo) {
    let version = info
        .cgroup_version
        .map(|version| version.to_string())
        .unwrap_or_default();
    let limits = info.memory_limit.unwrap_or(true);
    if !limits {
        report.warn(
            "cgroup",
            "the engine can't limit memory: skep's memory budget counts limits that nothing enforces",
            "switch the memory controller on (kernel parameter cgroup_enable=memory on older Debian)",
        );
    } else {
        report.ok("cgroup", format!("version {version}: limits work"));
    }
}

/// The engine for a fresh container in milliseconds. Without it functions run all the same.
async fn lean(report: &mut Report, docker: &Docker) {
    let found = skep_lean::examine(docker).await;
    if found.reasons.is_empty() {
        report.ok(
            "lean",
            format!(
                "works here, with {}: a fresh container in milliseconds",
                found.means.join(" and ")
            ),
        );
    } else {
        report.warn(
            "lean",
            format!(
                "it can't be used here, so functions run on the docker engine: {}",
                found.reasons.join("; ")
            ),
            "nothing: functions run all the same, and start as slowly as Docker starts them",
        );
    }
}

async fn reach(report: &mut Report, docker_host: Option<&str>) {
    let config = Config {
        docker_host: docker_host.map(str::to_owned),
        ..Config::default()
    };
    // Connecting alone makes nothing on the engine: no container, no lock, no listener.
    let Ok((engine, _calls)) = DockerEngine::connect(config).await else {
        return;
    };
    match engine.unreachable() {
        None => report.ok("reach", "functions' networks can be reached, so that http functions work"),
        Some(reason) => report.fail(
            "reach",
            format!("http functions can't be reached from here and would be invalid: {reason}"),
            "run skep as root on the engine's host, or as a container of this engine; exec and cgi work as it is",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_are_compared_as_numbers() {
        assert!(parsed("1.100") > parsed("1.41"));
        assert!(parsed("1.9") < Some(OLDEST_API));
        assert!(parsed("") < Some(OLDEST_API));
    }
}
