//! A test's own corner of the engine, cleared when the test ends in any way.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use skep_model::{Function, Revision, Template, TemplateId};

use crate::{cgroups, lean};

/// Makes containers, networks and volumes for one test, in a namespace of its own, and removes them when dropped.
///
/// Everything is found again by the label `skep.namespace`, so that what Skep made in the namespace goes as well.
#[derive(Debug)]
pub struct Docker {
    namespace: String,
}

impl Docker {
    /// A corner named after what is tested, and unlike every other.
    pub fn new(topic: &str) -> Self {
        let unique = uuid::Uuid::now_v7().simple().to_string();
        Self {
            namespace: format!("test-{topic}-{}", &unique[20..]),
        }
    }

    /// The namespace of this test; also a prefix for its own names.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `docker` and returns what it printed, without the last line's end.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments)
            .unwrap_or_else(|error| panic!("docker {}: {error}", arguments.join(" ")))
    }

    /// Runs `docker` and returns what it printed, or what it complained of.
    ///
    /// # Errors
    /// Its standard error.
    pub fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        docker(arguments)
    }

    /// `docker create` in this namespace; returns the container's id.
    ///
    /// # Panics
    /// When it fails.
    pub fn create(&self, arguments: &[&str]) -> String {
        let namespace = format!("skep.namespace={}", self.namespace);
        let mut all = vec!["create", "--label", &namespace];
        all.extend(arguments);
        self.run(&all)
    }

    /// `docker network create` with a name from this namespace; returns the name.
    ///
    /// # Panics
    /// When it fails.
    pub fn network(&self, name: &str, arguments: &[&str]) -> String {
        let namespace = format!("skep.namespace={}", self.namespace);
        let name = format!("{}-{name}", self.namespace);
        let mut all = vec!["network", "create", "--label", &namespace];
        all.extend(arguments);
        all.push(&name);
        self.run(&all);
        name
    }

    /// `docker rm` of one container, with no test's prune so soon after it that it would look like a part of it.
    ///
    /// # Panics
    /// When it fails.
    pub fn remove(&self, container: &str) {
        let lock = self.lock_prunes();
        self.run(&["rm", container]);
        std::thread::spawn(move || {
            // Longer than Skep takes the pause between two removals of one prune to be.
            std::thread::sleep(std::time::Duration::from_millis(1_100));
            drop(lock);
        });
    }

    /// `docker container prune` of this namespace's containers only.
    ///
    /// # Panics
    /// When it fails.
    pub fn prune(&self) {
        self.prune_with(&self.lock_prunes());
    }

    /// Keeps other tests from pruning until the value is dropped: the engine runs one prune at a time, and a
    /// removal just before another test's prune would look like a part of it.
    ///
    /// # Panics
    /// When there can be no lock.
    pub fn lock_prunes(&self) -> File {
        let lock = File::create(std::env::temp_dir().join("skep-test-prune.lock")).expect("a lock file");
        lock.lock().expect("the lock of prunes");
        lock
    }

    /// [`Docker::prune`] for a test that holds the lock.
    ///
    /// # Panics
    /// When it fails.
    pub fn prune_with(&self, _lock: &File) {
        let filter = format!("label=skep.namespace={}", self.namespace);
        self.run(&["container", "prune", "-f", "--filter", &filter]);
    }

    /// Reads a parked container as a function, as discovery would.
    ///
    /// # Panics
    /// When it is no valid function, with the reasons.
    pub fn function(&self, container: &str) -> Function {
        let template = Arc::new(self.template(container));
        let revision = Revision::of(template.inspect.as_bytes());
        Function::from_template(template, revision).unwrap_or_else(|reasons| panic!("{}", reasons.join("; ")))
    }

    /// Reads a parked container as a template.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn template(&self, container: &str) -> Template {
        let inspect: Vec<Value> =
            serde_json::from_str(&self.run(&["inspect", container])).expect("docker prints JSON");
        let inspect = &inspect[0];
        let text = |pointer: &str| {
            inspect
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let labels = |value: Option<&Value>| -> BTreeMap<String, String> {
            let pairs = value.and_then(Value::as_object).into_iter().flatten();
            pairs
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()))
                .collect()
        };
        let keys = |pointer: &str| -> Vec<String> {
            let object = inspect.pointer(pointer).and_then(Value::as_object);
            object.into_iter().flatten().map(|(key, _)| key.clone()).collect()
        };
        let variables = inspect
            .pointer("/Config/Env")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let port_variable = variables
            .filter_map(Value::as_str)
            .find_map(|v| v.strip_prefix("PORT="))
            .map(str::to_owned);
        let exposed = keys("/Config/ExposedPorts");
        let exposed_tcp = exposed
            .iter()
            .filter_map(|port| port.strip_suffix("/tcp")?.parse().ok())
            .collect();
        let image = serde_json::from_str::<Vec<Value>>(&self.run(&["image", "inspect", &text("/Image")]));
        let image = image.expect("docker prints JSON");
        let memory = inspect.pointer("/HostConfig/Memory").and_then(Value::as_u64);
        Template {
            id: TemplateId(text("/Id").into()),
            name: text("/Name").trim_start_matches('/').to_owned(),
            created: text("/Created").parse().expect("docker prints RFC 3339"),
            labels: labels(inspect.pointer("/Config/Labels")),
            image_labels: labels(image[0].pointer("/Config/Labels")),
            image_id: text("/Image"),
            image: text("/Config/Image"),
            image_present: true,
            ever_started: !text("/State/StartedAt").starts_with("0001"),
            publishes_ports: !keys("/HostConfig/PortBindings").is_empty(),
            tty: inspect
                .pointer("/Config/Tty")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            exposed_tcp,
            port_variable,
            fixed_address: false,
            network_mode: text("/HostConfig/NetworkMode"),
            networks: keys("/NetworkSettings/Networks"),
            memory: memory.filter(|bytes| *bytes > 0),
            copied: None,
            inspect: inspect.to_string().into(),
        }
    }

    /// The ids of this namespace's containers that carry a label (`key` or `key=value`), running or not.
    ///
    /// # Panics
    /// When `docker ps` fails.
    pub fn containers(&self, label: &str) -> Vec<String> {
        list(
            &["ps", "-aq", "--no-trunc"],
            "skep.namespace",
            &self.namespace,
            Some(label),
        )
    }

    /// The instances of this namespace, of both engines: ids of containers, and the names of lean ones' cgroups.
    ///
    /// # Panics
    /// When `docker ps` fails.
    pub fn all_instances(&self) -> Vec<String> {
        let mut instances = self.containers("skep.instance");
        let sandboxes = self.containers("skep.is-sandbox");
        instances.retain(|container| !sandboxes.contains(container));
        instances.extend(lean::instances(&self.namespace));
        instances
    }

    /// How many instances this namespace has.
    ///
    /// # Panics
    /// When `docker ps` fails.
    pub fn instances(&self) -> usize {
        self.all_instances().len()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // What `skep deploy` made for a project of that name has Compose's label.
        let owners = ["skep.namespace", "com.docker.compose.project"];
        let remove = |listing: &[&str], removal: &[&str]| {
            for id in owners
                .iter()
                .flat_map(|owner| list(listing, owner, &self.namespace, None))
            {
                // Another thread of the test may have removed it meanwhile.
                drop(docker(&[removal, &[&id]].concat()));
            }
        };
        remove(&["ps", "-aq"], &["rm", "-f", "-v"]);
        remove(&["network", "ls", "-q"], &["network", "rm"]);
        remove(&["volume", "ls", "-q"], &["volume", "rm"]);
        cgroups::clear(&self.namespace);
    }
}

fn list(listing: &[&str], owner: &str, namespace: &str, label: Option<&str>) -> Vec<String> {
    let owned = format!("label={owner}={namespace}");
    let mut arguments = [listing, &["--filter", &owned]].concat();
    let label = label.map(|label| format!("label={label}"));
    arguments.extend(label.iter().flat_map(|label| ["--filter", label.as_str()]));
    let printed = docker(&arguments).unwrap_or_default();
    printed.lines().map(str::to_owned).collect()
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}
