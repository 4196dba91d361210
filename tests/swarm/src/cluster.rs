//! A Swarm of nodes in containers.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::image::{binary, root};

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote as data.
    pub stdout: String,
    /// What it said about it.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }
    }
}

/// A cluster; nodes are numbered from 1, which is a manager.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    own: bool,
    /// Whether something was done to it that has to be seen to be over.
    harmed: AtomicBool,
}

impl Cluster {
    /// A cluster of this test's own, with so many nodes and managers, which goes with the test.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn own(nodes: u32, managers: u32) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let name = format!("test-{}", &id[20..]);
        let owner = std::process::id().to_string();
        up(
            &name,
            &[
                "--nodes",
                &nodes.to_string(),
                "--managers",
                &managers.to_string(),
                "--owner",
                &owner,
            ],
        );
        Self {
            name,
            own: true,
            harmed: AtomicBool::new(false),
        }
    }

    /// The cluster of this name; made where there is none, for as long as its owner lives. Whether it was made.
    pub(crate) fn named(name: &str, nodes: u32, managers: u32, owner: Option<u32>) -> (Self, bool) {
        let cluster = Self {
            name: name.to_owned(),
            own: false,
            harmed: AtomicBool::new(false),
        };
        if script(&["status"]).stdout.lines().any(|line| line == name) {
            return (cluster, false);
        }
        let (nodes, managers) = (nodes.to_string(), managers.to_string());
        let mut more = vec!["--nodes", &nodes, "--managers", &managers];
        let owner = owner.map(|owner| owner.to_string());
        more.extend(owner.iter().flat_map(|owner| ["--owner", owner]));
        up(name, &more);
        (cluster, true)
    }

    /// The docker command against a node's engine; what it wrote.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn docker(&self, node: u32, arguments: &[&str]) -> String {
        let ended = self.try_docker(node, arguments);
        assert_eq!(
            ended.code,
            Some(0),
            "docker {arguments:?} on node {node}: {}",
            ended.stderr
        );
        ended.stdout
    }

    /// The docker command against a node's engine, however it ends.
    ///
    /// # Panics
    /// When there is no docker command.
    pub fn try_docker(&self, node: u32, arguments: &[&str]) -> Ended {
        if matches!(
            arguments,
            ["kill", ..] | ["node", "update", ..] | ["service", "scale", ..]
        ) {
            self.harmed.store(true, Ordering::SeqCst);
        }
        let output = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", self.host(node))
            .output();
        output.expect("the docker command").into()
    }

    /// A command on a node; what it wrote.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn exec(&self, node: u32, arguments: &[&str]) -> String {
        self.script_of("exec", node, arguments)
    }

    /// `skep` against a node's engine, of somebody who never logged in at a registry.
    ///
    /// # Panics
    /// When there is no such binary.
    pub fn skep(&self, node: u32, arguments: &[&str]) -> Ended {
        self.skep_with(node, arguments, Path::new("/nonexistent"))
    }

    /// The same, of somebody whose docker command has its configuration in this folder.
    ///
    /// # Panics
    /// When there is no such binary.
    pub fn skep_with(&self, node: u32, arguments: &[&str], docker_config: &Path) -> Ended {
        let output = Command::new(binary())
            .args(arguments)
            .env("DOCKER_HOST", self.host(node))
            .env("DOCKER_CONFIG", docker_config)
            // A test that needs another queue says so (--queue).
            .env("SKEP_QUEUE", "sqlite")
            .env("NO_COLOR", "1")
            .output();
        output.expect("the binary").into()
    }

    /// The image of the queue's servers, in the cluster's registry.
    ///
    /// # Panics
    /// When it can't be pushed.
    pub fn nats(&self) -> String {
        succeeded(script(&["nats", &self.name]))
    }

    /// Installs Skep there, with the queue that gateways share.
    pub fn install_with_queue(&self, image: &str) -> Ended {
        let nats = self.nats();
        let queue = ["--queue", "nats", "--nats-image", &nats];
        self.skep(1, &[["install", "--image", image].as_slice(), &queue].concat())
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Puts the binary under test onto a node.
    ///
    /// # Panics
    /// When that can't be done.
    pub fn copy_binary(&self, node: u32, path: &str) {
        let to = format!("skep-swarm-{}-{node}:{path}", self.name);
        let copied = Command::new("docker").arg("cp").arg(binary()).arg(to).status();
        assert!(copied.expect("the docker command").success());
    }

    /// Puts an image of this machine's into the cluster's registry; gives its name there.
    ///
    /// # Panics
    /// When it can't be pushed.
    pub fn push(&self, image: &str) -> String {
        succeeded(script(&["push", &self.name, image]))
    }

    /// Puts an image of this machine's into every node.
    ///
    /// # Panics
    /// When it can't be loaded.
    pub fn load(&self, image: &str) {
        succeeded(script(&["load", &self.name, image]));
    }

    /// The address of a node, as this machine reaches it.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn address(&self, node: u32) -> String {
        self.script_of("address", node, &[])
    }

    /// It was seen to be whole.
    pub(crate) fn is_mended(&self) {
        self.harmed.store(false, Ordering::SeqCst);
    }

    /// A node loses power.
    ///
    /// # Panics
    /// When it had none.
    pub fn kill(&self, node: u32) {
        self.harmed.store(true, Ordering::SeqCst);
        self.script_of("kill", node, &[]);
    }

    /// And has it again.
    ///
    /// # Panics
    /// When its engine does not come back.
    pub fn start(&self, node: u32) {
        self.script_of("start", node, &[]);
    }

    /// A node loses its network.
    ///
    /// # Panics
    /// When that can't be done.
    pub fn cut(&self, node: u32) {
        self.harmed.store(true, Ordering::SeqCst);
        self.script_of("cut", node, &[]);
    }

    /// And has it again.
    ///
    /// # Panics
    /// When that can't be done.
    pub fn mend(&self, node: u32) {
        self.script_of("mend", node, &[]);
    }

    /// The same, whether it had none or not.
    pub(crate) fn try_mend(&self, node: u32) {
        script(&["mend", &self.name, &node.to_string()]);
    }

    /// A node's engine ends in order, and starts again.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self, node: u32) {
        self.harmed.store(true, Ordering::SeqCst);
        self.script_of("restart", node, &[]);
    }

    /// The registry is away (`off`), or back (`on`).
    ///
    /// # Panics
    /// When that can't be done.
    pub fn registry(&self, state: &str) {
        if state == "off" {
            self.harmed.store(true, Ordering::SeqCst);
        }
        succeeded(script(&["registry", &self.name, state]));
    }

    /// Where a node's engine listens.
    pub(crate) fn host(&self, node: u32) -> String {
        let folder = std::env::var("SKEP_SWARM_DIR").unwrap_or_else(|_| "/run/skep-swarm".to_owned());
        format!("unix://{folder}/{}/{node}/docker.sock", self.name)
    }

    fn script_of(&self, verb: &str, node: u32, more: &[&str]) -> String {
        let node = node.to_string();
        let mut arguments = vec![verb, &self.name, &node];
        arguments.extend(more);
        succeeded(script(&arguments))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.own {
            script(&["down", &self.name]);
        } else if !self.harmed.load(Ordering::SeqCst) && !std::thread::panicking() {
            self.is_left_whole();
        }
    }
}

fn up(name: &str, more: &[&str]) {
    let mut arguments = vec!["up", name];
    arguments.extend(more);
    succeeded(script(&arguments));
}

fn script(arguments: &[&str]) -> Ended {
    let output = Command::new(root().join("scripts/swarm"))
        .args(arguments)
        .output();
    output.expect("scripts/swarm").into()
}

fn succeeded(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}
