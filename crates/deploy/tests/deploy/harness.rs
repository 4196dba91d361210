//! A project in a directory of its own, gone when the test ends.

use bollard::Docker;
use skep_compose::{LoadOptions, Loaded, Project, load};
use skep_deploy::{DeployError, Deployed, DownOptions, Event, Progress, UpOptions, down, up};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use tempfile::TempDir;

/// Remembers what happened.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>);

impl Progress for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().expect("no test panics in here").push(event);
    }
}

impl Recorder {
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().expect("no test panics in here"))
    }

    pub(crate) fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.0.lock().expect("no test panics in here").iter().any(wanted)
    }
}

pub(crate) struct Sandbox {
    pub(crate) name: String,
    pub(crate) directory: TempDir,
    pub(crate) docker: Docker,
    pub(crate) progress: Recorder,
    pub(crate) options: UpOptions,
}

impl Sandbox {
    pub(crate) async fn new(what: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("skep-deploy-")
            .tempdir()
            .expect("a temporary directory");
        let random: String = directory
            .path()
            .file_name()
            .expect("it has a name")
            .to_string_lossy()
            .to_lowercase()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .skip("skepdeploy".len())
            .collect();
        let docker = Docker::connect_with_defaults()
            .expect("a Docker engine")
            .negotiate_version()
            .await
            .expect("a Docker engine that answers");
        Self {
            name: format!("skeptest-{what}-{random}"),
            directory,
            docker,
            progress: Recorder::default(),
            options: UpOptions::default(),
        }
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.directory.path().join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a directory");
        }
        std::fs::write(path, text).expect("a file");
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn load(&self, text: &str) -> Project {
        self.write("compose.yaml", text);
        let options = LoadOptions {
            project_name: Some(self.name.clone()),
            working_directory: self.path().to_owned(),
            ..LoadOptions::default()
        };
        match load(options) {
            Ok(Loaded { project, .. }) => project,
            Err(errors) => panic!("{errors}"),
        }
    }

    pub(crate) async fn try_up(&self, text: &str) -> Result<Deployed, DeployError> {
        let project = self.load(text);
        up(&self.docker, &project, &self.options, &self.progress).await
    }

    pub(crate) async fn up(&self, text: &str) -> Deployed {
        match self.try_up(text).await {
            Ok(deployed) => deployed,
            Err(error) => panic!("{}", error.report()),
        }
    }

    pub(crate) async fn down(&self, volumes: bool) {
        let options = DownOptions {
            volumes,
            stop_timeout: Some(std::time::Duration::ZERO),
            ..DownOptions::of(&self.name)
        };
        down(&self.docker, &options, &self.progress)
            .await
            .expect("the project goes down");
    }

    /// `docker inspect --format`.
    pub(crate) fn inspect(&self, container: &str, format: &str) -> String {
        docker(&["inspect", "--format", format, container])
    }

    /// Names and states of the project's containers.
    pub(crate) fn containers(&self) -> Vec<(String, String)> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let listed = docker(&[
            "ps",
            "-a",
            "--filter",
            &filter,
            "--format",
            "{{.Names}} {{.State}}",
        ]);
        let mut containers: Vec<(String, String)> = listed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, state)| {
                let name = name.trim_start_matches(&format!("{}-", self.name));
                (name.to_owned(), state.to_owned())
            })
            .collect();
        containers.sort();
        containers
    }
}

/// What is left of the project goes, also when the test failed.
impl Drop for Sandbox {
    fn drop(&mut self) {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        for (list, remove) in [
            (vec!["ps", "-aq"], vec!["rm", "-fv"]),
            (vec!["network", "ls", "-q"], vec!["network", "rm"]),
            (vec!["volume", "ls", "-q"], vec!["volume", "rm", "-f"]),
        ] {
            let mut list = list;
            list.extend(["--filter", &filter]);
            let found = docker(&list);
            let ids: Vec<&str> = found.lines().collect();
            if !ids.is_empty() {
                docker(&[remove, ids].concat());
            }
        }
        // By name, and what a second build took the name from.
        let by_name = format!("reference={}-*", self.name);
        let by_label = format!("label=made.by={}", self.name);
        let images = [by_name, by_label]
            .map(|filter| docker(&["images", "-q", "--filter", &filter]))
            .join("\n");
        let ids: Vec<&str> = images.lines().filter(|id| !id.is_empty()).collect();
        if !ids.is_empty() {
            docker(&[vec!["rmi", "-f"], ids].concat());
        }
    }
}

/// The docker command's output; what it says on standard error is lost.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .expect("the docker command");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Pairs as texts, to compare with.
pub(crate) fn states(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, state)| ((*name).to_owned(), (*state).to_owned()))
        .collect()
}
