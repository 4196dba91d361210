//! A cluster with Skep on it, which tests that do it harm share: one after the other, each finds it whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

use crate::http::{Answer, get};
use crate::{Cluster, Function, eventually, skep_image};

/// Its nodes; each of them is a manager, and has a gateway and an agent.
pub const NODES: [u32; 3] = [1, 2, 3];
/// An image with a shell, as its nodes have it.
pub const SHELL: &str = "registry:5000/debian:bookworm-slim";

impl Cluster {
    /// That cluster, whole.
    ///
    /// # Panics
    /// When it can't be made, or does not come back to what it was.
    pub fn installed() -> Self {
        let runner = std::os::unix::process::parent_id();
        let kept = std::env::var("SKEP_TEST_SWARM");
        let owner = kept.is_err().then_some(runner);
        let name = kept.unwrap_or_else(|_| format!("faults-{runner}"));
        let path = installed_at(&name);
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .expect("a lock file");
        lock.lock().expect("the lock of the shared cluster");
        let (cluster, is_new) = Self::named(&name, 3, 3, owner);
        let mut there = String::new();
        lock.read_to_string(&mut there).expect("what is installed");
        if is_new {
            cluster.push("debian:bookworm-slim");
        } else {
            cluster.heal();
        }
        let image = skep_image();
        if is_new || there != image {
            let pushed = cluster.push(&image);
            let installed = cluster.skep(1, &["install", "--image", &pushed, "--drain-timeout", "30s"]);
            assert_eq!(installed.code, Some(0), "{}", installed.stderr);
            lock.set_len(0)
                .and_then(|()| lock.rewind())
                .expect("the lock file");
            lock.write_all(image.as_bytes()).expect("the lock file");
        }
        cluster.whole();
        cluster
    }

    /// What is installed is something else now: the next test installs anew.
    ///
    /// # Panics
    /// When that can't be noted.
    pub fn forget_installed(&self) {
        std::fs::write(installed_at(self.name()), "").expect("the lock file");
    }

    /// The addresses of these nodes.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn addresses(&self, nodes: &[u32]) -> Vec<String> {
        nodes.iter().map(|node| self.address(*node)).collect()
    }

    /// Undoes what an earlier test did and, if it failed, left.
    fn heal(&self) {
        self.registry("on");
        for node in NODES {
            self.start(node);
            self.try_mend(node);
        }
        for node in NODES {
            eventually("a manager that answers", || {
                let active = [
                    "node",
                    "update",
                    "--availability",
                    "active",
                    &format!("node-{node}"),
                ];
                (self.try_docker(1, &active).code == Some(0)).then_some(())
            });
        }
        for label in ["skep.function", "skep.sandbox-of"] {
            let filter = format!("label={label}");
            for id in self
                .docker(1, &["service", "ls", "-q", "--filter", &filter])
                .lines()
            {
                self.try_docker(1, &["service", "rm", id]);
            }
        }
    }

    /// Returns when every node is ready, and every gateway gets answers from every node.
    ///
    /// # Panics
    /// When that never comes about.
    pub fn whole(&self) {
        eventually("every node to be ready", || {
            let states = self
                .try_docker(1, &["node", "ls", "--format", "{{.Status}}"])
                .stdout;
            (states.lines().filter(|state| *state == "Ready").count() == NODES.len()).then_some(())
        });
        let everywhere = self.spread("compass", "0.5");
        for node in NODES {
            everywhere.answers_from(node, &NODES);
        }
    }

    /// A function with room for four on every node; each invocation takes so many seconds, and answers with the name
    /// of its node.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn spread(&self, topic: &str, seconds: &str) -> Function<'_> {
        self.spread_by(1, topic, seconds)
    }

    /// The same, deployed on another manager.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn spread_by(&self, manager: u32, topic: &str, seconds: &str) -> Function<'_> {
        let labels = ["handler=exec", "max=12", "slots=4", "sandboxes=3", "timeout=60s"];
        let command = format!("sleep {seconds}; echo $NODE");
        self.function_by(manager, topic, &labels, SHELL, &["sh", "-c", &command])
    }

    /// The command of Skep beside a node's gateway; what it wrote.
    pub fn control(&self, node: u32, arguments: &[&str]) -> Option<String> {
        let filter = [
            "ps",
            "-q",
            "--filter",
            "label=skep.part=gateway",
            "--filter",
            "status=running",
        ];
        let gateway = self.try_docker(node, &filter).stdout;
        let gateway = gateway.lines().next()?;
        let ended = self.try_docker(node, &[&["exec", gateway, "skep"], arguments].concat());
        (ended.code == Some(0)).then_some(ended.stdout)
    }
}

/// The file that says which image is installed there, and is locked while that changes.
fn installed_at(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("skep-{name}.lock"))
}

impl Function<'_> {
    /// Returns when callers at this gateway are answered from all of these nodes.
    ///
    /// # Panics
    /// When that never comes about.
    pub fn answers_from(&self, gateway: u32, nodes: &[u32]) {
        let wanted: BTreeSet<String> = nodes.iter().map(|node| format!("node-{node}")).collect();
        let address = self.cluster().address(gateway);
        eventually(&format!("answers from {wanted:?} through node {gateway}"), || {
            let answers = at_once(3 * nodes.len(), &address, &self.path());
            let from: BTreeSet<String> = answers.into_iter().flatten().map(|answer| answer.body).collect();
            from.is_superset(&wanted).then_some(())
        });
    }
}

/// Asks the same of an address so many times at once.
///
/// # Panics
/// When a caller does.
pub fn at_once(count: usize, address: &str, path: &str) -> Vec<std::io::Result<Answer>> {
    let callers: Vec<_> = (0..count)
        .map(|_| {
            let (address, path) = (address.to_owned(), path.to_owned());
            std::thread::spawn(move || get(&address, &path))
        })
        .collect();
    let joined = callers.into_iter().map(|caller| caller.join().expect("a caller"));
    joined.collect()
}
