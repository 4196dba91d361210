//! Skep itself in a container: with the rights that the documentation names it makes lean instances, without them it
//! says which one is missing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::StatusCode;
use skep_tests::{Client, DEBIAN, Docker, binary, cgroup_homes, eventually, probe_image};

/// What docs/lean.md tells to add, beside the paths.
const RIGHTS: [&str; 13] = [
    "--pid",
    "host",
    "--cgroupns",
    "host",
    "--cap-add",
    "SYS_ADMIN",
    "--cap-add",
    "NET_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--volume",
    "/sys/fs/cgroup:/sys/fs/cgroup:rw",
];

/// A Skep in a container, on ports of its own.
struct Contained {
    docker: Docker,
    container: String,
    public: Client,
    control: Client,
    data: tempfile::TempDir,
}

impl Contained {
    async fn start(topic: &str, rights: &[&str]) -> Self {
        let docker = Docker::new(topic);
        let data = tempfile::tempdir().expect("a directory");
        let same = |path: &str| format!("{path}:{path}");
        let root = docker.run(&["info", "--format", "{{.DockerRootDir}}"]);
        let volumes = [
            same("/var/run/docker.sock"),
            same(&root),
            same(&data.path().display().to_string()),
            format!("{}:/usr/local/bin/skep:ro", binary().display()),
        ];
        let label = format!("skep.namespace={}", docker.namespace());
        let mut arguments = vec!["run", "--detach", "--network", "host", "--label", &label];
        arguments.extend(rights);
        arguments.extend(volumes.iter().flat_map(|volume| ["--volume", volume.as_str()]));
        let directory = data.path().display().to_string();
        let listen = "--listen=127.0.0.1:0";
        let control = "--control=127.0.0.1:0";
        arguments.extend([DEBIAN, "skep", "serve", listen, control, "--call-port=0"]);
        arguments.extend(["--namespace", docker.namespace(), "--data-dir", &directory]);
        let container = docker.run(&arguments);
        let said = eventually("Skep to be ready", async || {
            let said = logs(&container);
            said.lines().any(|line| line == "ready").then_some(said)
        })
        .await;
        let client = |prefix: &str| Client {
            address: address(&said, prefix),
        };
        Self {
            public: client("listening on http://"),
            control: client("control on http://"),
            docker,
            container,
            data,
        }
    }

    fn park(&self, name: &str, flags: &[&str], command: &[&str]) {
        let function = format!("skep.function={name}");
        let labels = ["--label", &function, "--label", "skep.engine=lean"];
        self.docker.create(&[&labels, flags, command].concat());
    }

    async fn listed(&self, name: &str) -> String {
        eventually("the function to be listed", async || {
            let answer = self.control.get(&format!("/v1/functions/{name}")).await;
            (answer.status == StatusCode::OK).then(|| answer.text().to_owned())
        })
        .await
    }

    /// The number of its first process.
    fn process(&self) -> String {
        self.docker
            .run(&["inspect", "--format", "{{.State.Pid}}", &self.container])
    }

    /// The folders that it made: systemd leaves a container its own cgroup, so that on version 2 they may stand there.
    fn cgroup_homes(&self) -> Vec<PathBuf> {
        let own = std::fs::read_to_string(format!("/proc/{}/cgroup", self.process())).expect("it runs");
        let unified = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let inside = unified.map(|path| Path::new("/sys/fs/cgroup").join(path).with_file_name("instances"));
        let mut homes = cgroup_homes(self.docker.namespace());
        homes.extend(inside.filter(|home| home.is_dir()));
        homes
    }

    /// Ends it as `docker stop` does.
    async fn stop(self) {
        let homes = self.cgroup_homes();
        self.docker.run(&["stop", "--time", "60", &self.container]);
        let left: Vec<_> = homes.iter().filter(|home| home.exists()).collect();
        assert_eq!(left, Vec::<&PathBuf>::new());
        drop(self.data);
    }
}

/// What a container wrote to standard error.
fn logs(container: &str) -> String {
    let output = std::process::Command::new("docker")
        .args(["logs", container])
        .output();
    String::from_utf8_lossy(&output.expect("the docker command").stderr).into_owned()
}

fn address(said: &str, prefix: &str) -> SocketAddr {
    let line = said.lines().find_map(|line| line.strip_prefix(prefix));
    line.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{prefix} was not said:\n{said}"))
}

#[tokio::test]
async fn skep_in_a_container_makes_lean_instances_with_the_rights_that_are_named() {
    let skep = Contained::start("contained", &RIGHTS).await;
    let exec = ["--label", "skep.handler=exec"];
    let script = "echo $(id -u) $$; grep NoNewPrivs /proc/self/status";
    skep.park(
        "exec",
        &[&exec[..], &["--network", "none"]].concat(),
        &[DEBIAN, "sh", "-c", script],
    );
    skep.park("http", &[], &[&probe_image(), "http"]);
    skep.park(
        "bind",
        &[&exec[..], &["--volume", "/home:/data"]].concat(),
        &[DEBIAN, "ls", "/data"],
    );
    assert!(skep.listed("bind").await.contains("does not see /home"));
    for name in ["exec", "http"] {
        let listed = skep.listed(name).await;
        assert!(listed.contains("\"invalid\":[]"), "{listed}");
    }
    assert_eq!(skep.public.get("/exec").await.text(), "0 1\nNoNewPrivs:\t0\n");
    for _ in 0..2 {
        let answer = skep.public.get("/http/pid").await;
        assert_eq!((answer.status, answer.text().trim()), (StatusCode::OK, "1"));
    }
    skep.stop().await;
}

#[tokio::test]
async fn skep_in_a_container_without_a_right_says_what_it_can_not_do() {
    let without: Vec<&str> = RIGHTS
        .into_iter()
        .filter(|right| !right.contains("systempaths"))
        .collect();
    let skep = Contained::start("contained-less", &without).await;
    skep.park(
        "exec",
        &["--label", "skep.handler=exec", "--network", "none"],
        &[DEBIAN, "true"],
    );
    let listed = skep.listed("exec").await;
    assert!(
        listed.contains("a first lean instance could not be made here"),
        "{listed}"
    );
    skep.stop().await;
}

/// Makes a container's cgroups read-only, or writable again.
fn set_cgroups(container: &Contained, option: &str) {
    let process = container.process();
    let unified = !Path::new("/sys/fs/cgroup/pids").exists();
    let mount = if unified {
        "/sys/fs/cgroup"
    } else {
        "/sys/fs/cgroup/pids"
    };
    let mut command = std::process::Command::new("nsenter");
    command.args(["--mount", "--target", &process, "mount", "-o"]);
    let done = command.arg(format!("remount,bind,{option}")).arg(mount).status();
    assert!(done.expect("nsenter").success());
}

#[tokio::test]
async fn cgroups_that_can_not_be_made_again_are_told_of_and_docker_serves_until_they_can() {
    let skep = Contained::start("contained-healing", &RIGHTS).await;
    let labels = ["--label", "skep.function=e", "--label", "skep.handler=exec"];
    let command = ["--network", "none", DEBIAN, "echo", "hello"];
    skep.docker.create(&[&labels[..], &command].concat());
    let runs_on = async |engine: &str, when: &str| {
        eventually(&format!("{engine} {when}"), async || {
            let listed: serde_json::Value = serde_json::from_str(&skep.listed("e").await).expect("JSON");
            (listed["function"]["engine"] == engine).then_some(listed)
        })
        .await
    };
    for gone in [true, false] {
        runs_on("lean", "while they can be written").await;
        assert_eq!(skep.public.get("/e").await.text(), "hello\n");
        let homes = skep.cgroup_homes();
        assert!(!homes.is_empty());
        if gone {
            eventually("the tree to be empty, and gone", async || {
                homes
                    .iter()
                    .all(|home| !home.exists() || super::healing::remove(home).is_ok())
                    .then_some(())
            })
            .await;
        }
        set_cgroups(&skep, "ro");
        // One that was prepared before has its cgroups already.
        let refused = eventually("none to be prepared any more", async || {
            let answer = skep.public.get("/e").await;
            (answer.status != StatusCode::OK).then_some(answer)
        })
        .await;
        assert_eq!(refused.problem(), "engine-unavailable", "{refused:?}");
        let listed = runs_on("docker", "while they are read-only").await;
        let why = listed["function"]["fallback"].to_string();
        assert!(why.contains("they can't be made again"), "{listed:#}");
        assert_eq!(skep.public.get("/e").await.text(), "hello\n");
        set_cgroups(&skep, "rw");
    }
    runs_on("lean", "once they can be written again").await;
    assert_eq!(skep.public.get("/e").await.text(), "hello\n");
    skep.stop().await;
}
