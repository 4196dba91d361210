//! A cluster with Skep on it, which tests that do it harm share: one after the other, each finds it whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::http::{Answer, get};
use skep_testing::within;

use crate::{Cluster, Ended, Function, PATIENCE, PAUSE, eventually, skep_image};

/// Its nodes; each of them is a manager, and has a gateway and an agent.
pub const NODES: [u32; 3] = [1, 2, 3];
/// Sandboxes that were placed while a node was away stay where they are: after so long others are made.
const PLACING: Duration = Duration::from_secs(45);
/// So often.
const TRIES: u32 = 6;
/// A node that came back may stay `Down` for its managers though its engine has registered with them and goes on
/// speaking to them (moby/moby#34827); after so long its engine is started once more, which ends that.
const STUCK: Duration = Duration::from_secs(60);
/// Stands behind the image in that file while nobody has done it harm since it was seen to be whole.
const WHOLE: &str = "\nwhole";
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
        let image = skep_image();
        if !is_new && there == format!("{image}{WHOLE}") {
            // From now on it is not, until this test has passed and left it so.
            note(&mut lock, &image);
            return cluster;
        }
        if is_new {
            cluster.push("debian:bookworm-slim");
        } else {
            cluster.heal();
        }
        if is_new || there.lines().next() != Some(&image) {
            let pushed = cluster.push(&image);
            let installed = cluster.install(&pushed);
            assert_eq!(installed.code, Some(0), "{}", installed.stderr);
            note(&mut lock, &image);
        }
        cluster.whole();
        cluster
    }

    /// A test has passed that did no harm, or has seen to it that all is as before: the next need not look.
    pub(crate) fn is_left_whole(&self) {
        let path = installed_at(self.name());
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        if there == skep_image() {
            // Else the next one looks.
            drop(std::fs::write(path, format!("{there}{WHOLE}")));
        }
    }

    /// Brings Skep onto it, or another image of it: with the queue that a Swarm has where nobody says otherwise.
    pub fn install(&self, image: &str) -> Ended {
        let nats = self.nats();
        let queue = ["--queue", "nats", "--nats-image", &nats];
        let arguments = [
            &["install", "--image", image, "--drain-timeout", "30s"],
            &queue[..],
        ];
        self.skep(1, &arguments.concat())
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
        let began = Instant::now();
        let mut again = false;
        eventually("every node to be ready", || {
            let states = self.try_docker(1, &["node", "ls", "--format", "{{.Status}} {{.Hostname}}"]);
            let states: Vec<_> = states
                .stdout
                .lines()
                .filter_map(|line| line.split_once(' '))
                .collect();
            let (ready, others): (Vec<_>, Vec<_>) =
                states.into_iter().partition(|(state, _)| *state == "Ready");
            if began.elapsed() > STUCK && !std::mem::replace(&mut again, true) {
                let nodes = others
                    .iter()
                    .filter_map(|(_, name)| name.strip_prefix("node-")?.parse().ok());
                nodes.for_each(|node| self.restart(node));
            }
            (ready.len() == NODES.len()).then_some(())
        });
        // Tasks go where there are few: not before all can have some.
        for gateway in NODES {
            eventually("every gateway to hear every agent", || {
                (self.heard_by(gateway)? == NODES.len()).then_some(())
            });
        }
        for _ in 0..TRIES {
            let everywhere = self.spread("compass", "0.5");
            let mut said = NODES
                .into_iter()
                .map(|gateway| everywhere.answering(gateway, &NODES, PLACING));
            if said.all(|said| said.is_ok()) {
                self.is_mended();
                return;
            }
        }
        panic!("not every gateway gets answers from every node");
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

    /// How many agents a node's gateway hears.
    fn heard_by(&self, gateway: u32) -> Option<usize> {
        let metrics = self.metrics(gateway)?;
        let nodes = metrics.lines().filter(|line| line.starts_with("skep_nodes{"));
        let counts = nodes.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        Some(counts.sum())
    }

    /// What a node's gateway counts.
    pub fn metrics(&self, gateway: u32) -> Option<String> {
        self.shown(gateway, "/metrics")
    }

    /// The answer of a gateway's control listener, its head included.
    fn shown(&self, gateway: u32, path: &str) -> Option<String> {
        let ask = format!(
            "exec 3<>/dev/tcp/127.0.0.1/8081; \
             printf 'GET {path} HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n' >&3; cat <&3"
        );
        self.in_gateway(gateway, &["bash", "-c", &ask])
    }

    /// What a gateway's control listener answers as JSON.
    pub fn listed(&self, gateway: u32, path: &str) -> Option<serde_json::Value> {
        let said = self.shown(gateway, path)?;
        serde_json::from_str(said.split_once("\r\n\r\n")?.1).ok()
    }

    /// The command of Skep beside a node's gateway; what it wrote.
    pub fn control(&self, node: u32, arguments: &[&str]) -> Option<String> {
        self.in_gateway(node, &[&["skep"], arguments].concat())
    }

    /// Any command in a node's gateway; what it wrote.
    pub fn in_gateway(&self, node: u32, command: &[&str]) -> Option<String> {
        let ended = self.ended_in_gateway(node, command)?;
        (ended.code == Some(0)).then_some(ended.stdout)
    }

    /// The same, with all that it wrote and however it ended; `None` where no gateway runs there.
    pub fn ended_in_gateway(&self, node: u32, command: &[&str]) -> Option<Ended> {
        let gateway = self.gateway(node)?;
        Some(self.try_docker(node, &[&["exec", &gateway], command].concat()))
    }

    /// The container of a node's gateway, where one runs.
    pub(crate) fn gateway(&self, node: u32) -> Option<String> {
        let filter = [
            "ps",
            "-q",
            "--filter",
            "label=skep.part=gateway",
            "--filter",
            "status=running",
        ];
        let gateway = self.try_docker(node, &filter).stdout;
        gateway.lines().next().map(str::to_owned)
    }
}

/// What is installed there.
fn note(lock: &mut File, image: &str) {
    let written = lock
        .set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| lock.write_all(image.as_bytes()));
    written.expect("the lock file");
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
        if let Err(from) = self.answering(gateway, nodes, PATIENCE) {
            panic!(
                "waited in vain for answers from {nodes:?} through node {gateway}: there are some from {from:?}"
            );
        }
    }

    /// The same, where it may not come about in time: who answered last.
    fn answering(&self, gateway: u32, nodes: &[u32], patience: Duration) -> Result<(), BTreeSet<String>> {
        let wanted: BTreeSet<String> = nodes.iter().map(|node| format!("node-{node}")).collect();
        let address = self.cluster().address(gateway);
        let mut from = BTreeSet::new();
        let answered = within(patience, PAUSE, || {
            let answers = at_once(3 * nodes.len(), &address, &self.path());
            from = answers.into_iter().flatten().map(|answer| answer.body).collect();
            from.is_superset(&wanted).then_some(())
        });
        answered.ok_or(from)
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
