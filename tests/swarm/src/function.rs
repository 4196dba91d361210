//! Functions on a cluster.

use crate::{Cluster, ask, eventually};

/// A function's service; it goes with this, and its sandboxes with it.
#[derive(Debug)]
pub struct Function<'a> {
    cluster: &'a Cluster,
    manager: u32,
    /// Its name, which no other test's has.
    pub name: String,
}

impl Cluster {
    /// A function with these labels (`skep.` is put before each), image and command. It finds its node's name in
    /// `NODE`.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn function(&self, topic: &str, labels: &[&str], image: &str, command: &[&str]) -> Function<'_> {
        self.function_by(1, topic, labels, image, command)
    }

    /// The same, deployed on another manager.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn function_by(
        &self,
        manager: u32,
        topic: &str,
        labels: &[&str],
        image: &str,
        command: &[&str],
    ) -> Function<'_> {
        self.made(manager, topic, &[], labels, image, command)
    }

    /// The same, whose sandboxes are on one node.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn function_on(
        &self,
        node: u32,
        topic: &str,
        labels: &[&str],
        image: &str,
        command: &[&str],
    ) -> Function<'_> {
        let constraint = format!("node.hostname==node-{node}");
        self.made(1, topic, &["--constraint", &constraint], labels, image, command)
    }

    /// The same, with these options of `docker service create`.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn function_with(
        &self,
        options: &[&str],
        topic: &str,
        labels: &[&str],
        image: &str,
        command: &[&str],
    ) -> Function<'_> {
        self.made(1, topic, options, labels, image, command)
    }

    fn made(
        &self,
        manager: u32,
        topic: &str,
        options: &[&str],
        labels: &[&str],
        image: &str,
        command: &[&str],
    ) -> Function<'_> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let name = format!("{topic}-{}", &id[24..]);
        let mut arguments: Vec<String> = ["service", "create", "-q", "-d", "--replicas", "0"]
            .map(str::to_owned)
            .into();
        arguments.extend(["--endpoint-mode", "dnsrr", "--env", "NODE={{.Node.Hostname}}"].map(str::to_owned));
        arguments.extend(options.iter().map(|word| (*word).to_owned()));
        arguments.extend(["--name".to_owned(), name.clone()]);
        arguments.extend(["--label".to_owned(), format!("skep.function={name}")]);
        // So long a busy machine may take for the first answer, and no call from one function to another is longer.
        if !labels.iter().any(|label| label.starts_with("timeout=")) {
            arguments.extend(["--label".to_owned(), "skep.timeout=120s".to_owned()]);
        }
        for label in labels {
            arguments.extend(["--label".to_owned(), format!("skep.{label}")]);
        }
        arguments.push(image.to_owned());
        arguments.extend(command.iter().map(|word| (*word).to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Whoever led the managers may have gone a moment ago: until another does, and says so, nothing is made.
        eventually("a manager that makes a service", || {
            let made = self.try_docker(manager, &arguments);
            // The answer to an earlier try may be what did not come.
            let is_there = made.code == Some(0) || made.stderr.contains("name conflicts");
            let has_no_leader = ["DeadlineExceeded", "does not have a leader", "Unavailable"]
                .iter()
                .any(|word| made.stderr.contains(word));
            assert!(is_there || has_no_leader, "{name}: {}", made.stderr);
            is_there.then_some(())
        });
        Function {
            cluster: self,
            manager,
            name,
        }
    }
}

impl Function<'_> {
    /// Where it is.
    pub fn cluster(&self) -> &Cluster {
        self.cluster
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// What it says to `body` through a gateway, as soon as one answers.
    ///
    /// # Panics
    /// When it fails.
    pub fn says(&self, gateway: u32, body: &str) -> String {
        let (address, path) = (self.cluster.address(gateway), format!("POST {}", self.path()));
        let answer = eventually("an answer", || ask(&address, &path, &[], body).ok());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The names of the nodes on which its sandboxes are to run, once so many run there.
    ///
    /// # Panics
    /// When there are never so many.
    pub fn sandboxes(&self, manager: u32, count: usize) -> Vec<String> {
        let service = format!("skep-default-{}", self.name);
        let filter = [
            "--filter",
            "desired-state=running",
            "--format",
            "{{.Node}} {{.CurrentState}}",
        ];
        eventually(&format!("{count} sandboxes of {}", self.name), || {
            let arguments = [&["service", "ps", &service], &filter[..]].concat();
            let tasks = self.cluster.try_docker(manager, &arguments).stdout;
            let running: Vec<String> = tasks
                .lines()
                .filter_map(|line| {
                    line.split_once(" Running")
                        .map(|(node, _)| node.trim().to_owned())
                })
                .collect();
            (running.len() >= count).then_some(running)
        })
    }
}

impl Drop for Function<'_> {
    fn drop(&mut self) {
        self.cluster
            .try_docker(self.manager, &["service", "rm", &self.name]);
    }
}
