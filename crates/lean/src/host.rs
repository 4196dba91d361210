//! What this node gives: its cgroups, its Docker, its kernel. Found out once; a reason against is a sentence.

use std::fs;
use std::path::{Path, PathBuf};

use bollard::Docker;

use crate::apparmor;
use crate::cgroups::Kind;
use crate::layers::Source;
use crate::limits::Conversions;
use crate::plan;
use crate::sight::Sight;

/// The AppArmor profile that Docker loads and gives to its containers.
const DOCKERS_PROFILE: &str = "docker-default";

/// A node on which lean works.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The version of its cgroups.
    pub(crate) cgroup: Kind,
    /// Where images' layers are.
    pub(crate) layers: Source,
    /// How the engine's runtime reads limits.
    pub(crate) conversions: Conversions,
    /// Whether the engine makes what is mounted below a read-only mount read-only too (Docker 25, Linux 5.12).
    pub(crate) read_only_below: bool,
    /// The first number of the engine's version.
    pub(crate) major: u32,
    /// Whether Docker's engine is of a line whose seccomp profile is older than ours.
    pub(crate) strict_seccomp: bool,
    /// The AppArmor profile that Docker gives its containers.
    pub(crate) apparmor: Option<String>,
    /// The engine's default runtime.
    pub(crate) runtime: String,
    /// Where the engine's containers log to by default.
    pub(crate) log_driver: String,
    /// Docker's own first process (`--init`), where it is found.
    pub(crate) init: Option<PathBuf>,
    /// What of the host's files is seen here as it is there.
    pub(crate) sight: Sight,
    /// The capabilities that this process has, and so can give.
    pub(crate) capabilities: u64,
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
        let facts = match tokio::time::timeout(std::time::Duration::from_secs(20), docker.info()).await {
            Ok(Ok(info)) => info,
            Ok(Err(error)) => return Err(vec![format!("Docker can't be asked what it is: {error}")]),
            Err(_) => return Err(vec!["Docker does not answer".to_owned()]),
        };
        let root = facts.docker_root_dir.unwrap_or_default();
        let sight = Sight::find(docker).await;
        let (layers, folder) = match facts.driver.unwrap_or_default().as_str() {
            "overlay2" => (Source::Overlay2, Path::new(&root).join("overlay2")),
            driver => (Source::Hidden(driver.to_owned()), Path::new(&root).to_owned()),
        };
        if !(sight.has(&folder) && folder.is_dir()) {
            reasons.push(format!(
                "Docker's data in {root} can't be seen from here (a container needs -v {root}:{root})"
            ));
        }
        let runtime = facts.default_runtime.unwrap_or_else(|| "runc".to_owned());
        let conversions = Conversions::of(&runtime, &runtime_version(docker, &runtime).await);
        let cgroup = Kind::probe(conversions).unwrap_or_else(|found| {
            reasons.extend(found);
            Kind::Separate(Vec::new())
        });
        let mut apparmor = None;
        for option in facts.security_options.unwrap_or_default() {
            match option.as_str() {
                "name=seccomp,profile=default" | "name=seccomp,profile=builtin" | "name=cgroupns" => {}
                "name=apparmor" => {
                    reasons.extend(apparmor::check(DOCKERS_PROFILE).err());
                    apparmor = Some(DOCKERS_PROFILE.to_owned());
                }
                selinux if selinux.starts_with("name=selinux") => reasons
                    .push("Docker labels containers for SELinux, which the lean engine does not".to_owned()),
                other => reasons.push(format!(
                    "Docker runs with {other}, which the lean engine can't give alike"
                )),
            }
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let version = facts.server_version.unwrap_or_default();
        // One that does not say so is taken for the oldest.
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .unwrap_or_default();
        Ok(Self {
            cgroup,
            layers,
            conversions,
            major,
            read_only_below: major >= 25 && kernel() >= (5, 12),
            strict_seccomp: major < 29,
            apparmor,
            runtime,
            sight,
            log_driver: facts.logging_driver.unwrap_or_default(),
            init: plan::init::find(&facts.init_binary.unwrap_or_default()),
            capabilities: own_capabilities(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        })
    }
}

/// The first two numbers of the kernel's version.
pub(crate) fn kernel() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || {
        numbers
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    };
    (number(), number())
}

/// What this process has and may hand down: the permitted set, within the bounding one (capabilities(7)).
fn own_capabilities(status: &str) -> u64 {
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
            .unwrap_or_default()
    };
    set("CapPrm:") & set("CapBnd:")
}

/// The version of the engine's runtime, as the engine tells it.
async fn runtime_version(docker: &Docker, runtime: &str) -> String {
    let version = docker.version().await.ok().and_then(|version| version.components);
    let component = version
        .into_iter()
        .flatten()
        .find(|component| component.name == runtime);
    component.map(|component| component.version).unwrap_or_default()
}
