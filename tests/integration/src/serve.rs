//! A `skep serve` of a test's own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use skep_testing::Docker;
use tempfile::TempDir;

use crate::{Answer, Client, PATIENCE, eventually};

/// The `skep` that was built beside these tests.
///
/// # Panics
/// When it wasn't.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let built = test.ancestors().nth(2).expect("target/PROFILE").join("skep");
    assert!(
        built.exists(),
        "{} is not there: `cargo build -p skep` builds it",
        built.display()
    );
    built
}

/// Says under which engine the tests run; without it, under the best.
const TEST_ENGINE: &str = "SKEP_TEST_ENGINE";

/// The `skep.timeout` of functions that name none, where the machine is slower than any that the default is for.
const TEST_TIMEOUT: &str = "SKEP_TEST_TIMEOUT";

/// How to start a Skep.
#[derive(Debug, Default)]
pub struct Start {
    /// Further flags of `skep serve`.
    pub flags: Vec<String>,
    /// Where the data goes; a fresh directory by default.
    pub data: Option<PathBuf>,
}

/// A running Skep, its namespace, and its clients. Dropped, it is ended and all that it made is removed.
#[derive(Debug)]
pub struct Skep {
    child: Child,
    said: Arc<Mutex<String>>,
    start: Start,
    data: PathBuf,
    _directory: Option<TempDir>,
    /// The public listener.
    pub public: Client,
    /// The control listener.
    pub control: Client,
    /// The namespace's corner of the engine.
    pub docker: Docker,
}

impl Skep {
    /// Starts one and waits until it is ready.
    pub async fn start(topic: &str) -> Self {
        Self::with(topic, &[]).await
    }

    /// Starts one with further flags.
    pub async fn with(topic: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::from(topic, Start { flags, data: None }).await
    }

    /// Starts one.
    ///
    /// # Panics
    /// When it doesn't become ready.
    pub async fn from(topic: &str, start: Start) -> Self {
        let docker = Docker::new(topic);
        let directory = start
            .data
            .is_none()
            .then(|| tempfile::tempdir().expect("a directory"));
        let data = match (&start.data, &directory) {
            (Some(data), _) => data.clone(),
            (None, Some(directory)) => directory.path().join("data"),
            (None, None) => unreachable!("one of them is set"),
        };
        let said = Arc::new(Mutex::new(String::new()));
        let child = spawn(&docker, &data, &start.flags, &said);
        let nowhere = Client {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        let (public, control) = (nowhere, nowhere);
        let mut skep = Self {
            child,
            said,
            start,
            data,
            _directory: directory,
            public,
            control,
            docker,
        };
        skep.ready().await;
        skep
    }

    /// Starts it again with the same data, after it has ended.
    pub async fn restart(&mut self) {
        self.said.lock().expect("whole").clear();
        self.child = spawn(&self.docker, &self.data, &self.start.flags, &self.said);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let begin = Instant::now();
        while !self.said().lines().any(|line| line == "ready") {
            let ended = self.child.try_wait().expect("its own child");
            assert!(
                ended.is_none(),
                "skep serve ended with {ended:?}:\n{}",
                self.said()
            );
            assert!(
                begin.elapsed() < PATIENCE,
                "skep serve never became ready:\n{}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let said = self.said();
        let address = |prefix: &str| {
            let line = said
                .lines()
                .find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
            line.and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("{prefix} was not said:\n{said}"))
        };
        self.public = Client {
            address: address("listening on http://"),
        };
        self.control = Client {
            address: address("control on http://"),
        };
    }

    /// What it wrote to standard error.
    ///
    /// # Panics
    /// Never, unless the thread that reads it did.
    pub fn said(&self) -> String {
        self.said.lock().expect("whole").clone()
    }

    /// The directory of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process.
    ///
    /// # Panics
    /// Never: a child has an id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Panics
    /// When it was gone already.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("its own child");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of skep serve", async || {
            child.try_wait().expect("its own child")
        })
        .await
    }

    /// Parks a template (`docker create` with `skep.function=NAME` and these labels) and waits until it is in force.
    /// Returns the container's id. What follows the image goes into `command`, further flags into `flags`.
    pub async fn deploy(&self, name: &str, labels: &[&str], flags: &[&str], command: &[&str]) -> String {
        let id = self.park(name, labels, flags, command);
        self.in_force(name, &id).await;
        id
    }

    /// Parks a template and waits for nothing.
    pub fn park(&self, name: &str, labels: &[&str], flags: &[&str], command: &[&str]) -> String {
        let mut arguments = vec!["--label".to_owned(), format!("skep.function={name}")];
        for label in labels {
            arguments.extend(["--label".to_owned(), format!("skep.{label}")]);
        }
        if let Ok(timeout) = std::env::var(TEST_TIMEOUT)
            && !labels.iter().any(|label| label.starts_with("timeout="))
        {
            arguments.extend(["--label".to_owned(), format!("skep.timeout={timeout}")]);
        }
        arguments.extend(flags.iter().chain(command).map(|word| (*word).to_owned()));
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.docker.create(&words)
    }

    /// Waits until the template with this id is the one in force.
    pub async fn in_force(&self, name: &str, id: &str) {
        eventually("the template to be in force", async || {
            let answer = self.control.get(&format!("/v1/functions/{name}")).await;
            let short = answer.json()["function"]["template"]
                .as_str()
                .map(str::to_owned)?;
            id.starts_with(&short).then_some(())
        })
        .await;
    }

    /// Waits until so many instances serve.
    pub async fn serving(&self, count: usize) {
        eventually("instances at work", async || {
            let list = self.control.get("/v1/instances").await.json();
            let instances = list["instances"].as_array()?.iter();
            let busy = instances.filter(|instance| instance["state"] == "busy");
            (busy.count() == count).then_some(())
        })
        .await;
    }

    /// What the control listener says of one invocation, once it has ended.
    pub async fn record(&self, id: &str) -> Value {
        eventually("the invocation's record", async || {
            let answer = self.control.get(&format!("/v1/invocations/{id}")).await;
            let record = (answer.status == StatusCode::OK).then(|| answer.json())?;
            record["ended"].is_string().then_some(record)
        })
        .await
    }

    /// The record of the invocation that this is the answer of.
    pub async fn record_of(&self, answer: &Answer) -> Value {
        self.record(answer.header("skep-invocation")).await
    }

    /// Waits for an asynchronous invocation's end; returns its status document.
    pub async fn outcome(&self, location: &str) -> Value {
        eventually("the end of an accepted invocation", async || {
            let answer = self.public.get(location).await;
            let status = answer.json();
            matches!(status["status"].as_str(), Some("succeeded" | "failed")).then_some(status)
        })
        .await
    }

    /// The instances that this Skep made and that stand, of both engines. Sandboxes, which wait for the next instance
    /// for a while, are none.
    pub fn made(&self) -> Vec<String> {
        self.docker.all_instances()
    }

    /// The containers that this Skep made and that stand, sandboxes too, and what is left of lean instances.
    pub fn left(&self) -> Vec<String> {
        let mut left = self.docker.containers("skep.owner");
        left.extend(self.docker.all_instances());
        left
    }

    /// Waits until no instance that this Skep made stands.
    pub async fn nothing_made(&self) {
        eventually("the last instance to be removed", async || {
            self.made().is_empty().then_some(())
        })
        .await;
    }

    /// SIGTERM; it must end well, and leave nothing behind.
    ///
    /// # Panics
    /// When it doesn't.
    pub async fn finish(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert!(
            status.success(),
            "skep serve ended with {status}:\n{}",
            self.said()
        );
        let said = self.said();
        assert!(!said.contains("cut short"), "a part did not end:\n{said}");
        assert_eq!(self.left(), [] as [&str; 0], "something is left behind");
    }
}

impl Drop for Skep {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- skep serve said:\n{}---", self.said());
        }
        if let Ok(None) = self.child.try_wait() {
            // Whatever it made the guard of the namespace removes.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn spawn(docker: &Docker, data: &Path, flags: &[String], said: &Arc<Mutex<String>>) -> Child {
    let mut command = Command::new(binary());
    command.arg("serve");
    let usual = [
        ("--listen", "127.0.0.1:0"),
        ("--control", "127.0.0.1:0"),
        ("--call-port", "0"),
    ];
    for (flag, value) in usual {
        if !flags.iter().any(|own| own == flag) {
            command.args([flag, value]);
        }
    }
    command
        .args(["--namespace", docker.namespace()])
        .arg("--data-dir")
        .arg(data)
        .args(flags);
    // The same tests under the other engine: what `skep.engine=auto` means.
    if let Ok(engine) = std::env::var(TEST_ENGINE) {
        command.args(["--engine", &engine]);
    }
    // What the caller's own environment says is meant for another Skep.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SKEP_")) {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("skep can be started");
    let stderr = child.stderr.take().expect("it is piped");
    let said = Arc::clone(said);
    // Ends with the child, whose standard error it reads to the end.
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut said = said.lock().expect("whole");
            said.push_str(&line);
            said.push('\n');
        }
    });
    child
}
