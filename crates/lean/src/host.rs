//! What this node gives: its cgroups, its Docker, its kernel. Found out once; a reason against is a sentence.

use std::fs;
use std::path::PathBuf;

use bollard::Docker;

/// A node on which lean works.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The cgroup v1 hierarchies: the name below `/sys/fs/cgroup`, where they are mounted, and the controllers.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// Whether Docker's engine is of a line whose seccomp profile is older than ours.
    pub(crate) strict_seccomp: bool,
    /// The AppArmor profile that Docker gives its containers.
    pub(crate) apparmor: Option<String>,
    /// The engine's default runtime.
    pub(crate) runtime: String,
}

/// One cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) name: String,
    pub(crate) mount: PathBuf,
    pub(crate) controllers: Vec<String>,
}

impl Host {
    /// Looks at this machine and its Docker.
    ///
    /// # Errors
    /// Why lean can't be used on this node, each a sentence for the operator.
    pub(crate) async fn probe(docker: &Docker) -> Result<Self, Vec<String>> {
        let mut reasons = Vec::new();
        if !rustix::process::geteuid().is_root() {
            reasons
                .push("Skep does not run as root, and only root can make namespaces for others".to_owned());
        }
        if std::env::consts::ARCH != "x86_64" {
            reasons.push(format!(
                "this machine is {}; the lean engine is made for x86_64",
                std::env::consts::ARCH
            ));
        }
        let hierarchies = hierarchies(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        if !["memory", "pids", "devices", "freezer"]
            .iter()
            .all(|wanted| holds(&hierarchies, wanted))
        {
            reasons.push(
                "this node has no cgroup v1 controllers (memory, pids, devices, freezer), and the lean engine \
                 does not know cgroup v2's device rules yet"
                    .to_owned(),
            );
        }
        let facts = match tokio::time::timeout(std::time::Duration::from_secs(20), docker.info()).await {
            Ok(Ok(info)) => info,
            Ok(Err(error)) => return Err(vec![format!("Docker can't be asked what it is: {error}")]),
            Err(_) => return Err(vec!["Docker does not answer".to_owned()]),
        };
        let root = facts.docker_root_dir.unwrap_or_default();
        if facts.driver.as_deref() != Some("overlay2") {
            let driver = facts.driver.unwrap_or_default();
            reasons.push(format!(
                "Docker keeps images with {driver}, and the lean engine reads overlay2's layers"
            ));
        } else if !PathBuf::from(&root).join("overlay2").is_dir() {
            reasons.push(format!(
                "Docker's layers in {root} can't be seen from here (a remote engine, a container?)"
            ));
        }
        let mut apparmor = None;
        for option in facts.security_options.unwrap_or_default() {
            match option.as_str() {
                "name=seccomp,profile=default" | "name=seccomp,profile=builtin" | "name=cgroupns" => {}
                "name=apparmor" => apparmor = Some("docker-default".to_owned()),
                other => reasons.push(format!(
                    "Docker runs with {other}, which the lean engine can't give alike"
                )),
            }
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let version = facts.server_version.unwrap_or_default();
        Ok(Self {
            hierarchies,
            strict_seccomp: version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok())
                .is_none_or(|major: u32| major < 29),
            apparmor,
            runtime: facts.default_runtime.unwrap_or_else(|| "runc".to_owned()),
        })
    }
}

fn holds(hierarchies: &[Hierarchy], controller: &str) -> bool {
    hierarchies
        .iter()
        .any(|hierarchy| hierarchy.controllers.iter().any(|known| known == controller))
}

/// The cgroup v1 mounts, from `/proc/self/mountinfo` (proc(5)).
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    mountinfo.lines().filter_map(hierarchy).collect()
}

fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mount = before.split(' ').nth(4)?;
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let name = mount.strip_prefix("/sys/fs/cgroup/")?;
    if kind != "cgroup" || name.contains('/') {
        return None;
    }
    let controllers = options
        .split(',')
        .filter(|option| !matches!(*option, "rw" | "ro" | "xattr"));
    Some(Hierarchy {
        name: name.to_owned(),
        mount: mount.into(),
        controllers: controllers.map(str::to_owned).collect(),
    })
}
