//! A Docker engine of a test's own, for what must not be done to the one that all share: restarting, stalling and
//! pruning it. It has no networks and touches nothing of the host's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use skep_testing::{PAUSE, within};
use tempfile::TempDir;

use crate::PATIENCE;

/// A `dockerd` with a data directory of its own. Dropped, it and all that it made is gone.
#[derive(Debug)]
pub struct Engine {
    directory: TempDir,
    /// Further flags of `dockerd`.
    flags: Vec<String>,
    child: Child,
}

impl Engine {
    /// Starts one that has these images of the shared engine.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start(images: &[&str]) -> Self {
        Self::with(images, &[])
    }

    /// Starts one with further flags of `dockerd`.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn with(images: &[&str], flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let child = spawn(directory.path(), &flags);
        let mut engine = Self {
            directory,
            flags,
            child,
        };
        engine.answers();
        for image in images {
            let mut save = Command::new("docker");
            let mut save = save
                .args(["save", image])
                .stdout(Stdio::piped())
                .spawn()
                .expect("docker save");
            let archive = save.stdout.take().expect("it is piped");
            let load = engine
                .command()
                .arg("load")
                .stdin(archive)
                .output()
                .expect("docker load");
            assert!(
                save.wait().expect("docker save").success() && load.status.success(),
                "{image}: {load:?}"
            );
        }
        engine
    }

    /// What `--docker-host` takes.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Runs `docker` on it and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().expect("docker runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Ends it as a service manager does, and starts it again.
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn restart(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().expect("its own child");
        self.start_again();
    }

    /// `kill -9`; it answers no more.
    ///
    /// # Panics
    /// When it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("its own child");
    }

    /// Starts it again after [`Engine::kill`].
    ///
    /// # Panics
    /// When it doesn't start.
    pub fn start_again(&mut self) {
        self.child = spawn(self.directory.path(), &self.flags);
        self.answers();
    }

    /// Sends the daemon a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("dockerd runs");
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.host()]);
        command
    }

    fn answers(&mut self) {
        let answers = within(PATIENCE, PAUSE, || {
            // One that waited in vain for its own containerd, on a machine with much to do, has ended.
            if self.child.try_wait().expect("its own child").is_some() {
                self.child = spawn(self.directory.path(), &self.flags);
            }
            let asked = self.command().arg("version").output().expect("docker runs");
            asked.status.success().then_some(())
        });
        let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        assert!(answers.is_some(), "dockerd does not answer:\n{}", log());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A stopped daemon can't hear that it is to end.
        let process = Pid::from_child(&self.child);
        let tell = |signal| {
            let _ = kill_process(process, signal);
        };
        tell(Signal::CONT);
        let all = self.command().args(["ps", "-aq"]).output();
        if let Ok(all) = all {
            let ids = String::from_utf8_lossy(&all.stdout).into_owned();
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if !ids.is_empty() {
                let _ = self.command().args(["rm", "-f", "-v"]).args(ids).output();
            }
        }
        tell(Signal::TERM);
        let _ = self.child.wait();
        // The storage driver's own mount may outlive the daemon.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.directory.path().join("data/overlay2"))
            .output();
    }
}

fn spawn(directory: &Path, flags: &[String]) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .expect("a log");
    // In a network namespace of its own: a dockerd without a bridge removes the host's docker0 when it starts.
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "dockerd"]);
    for (flag, name) in [
        ("--data-root", "data"),
        ("--exec-root", "exec"),
        ("--pidfile", "pid"),
    ] {
        command.arg(flag).arg(directory.join(name));
    }
    command
        .arg("--host")
        .arg(format!("unix://{}", directory.join("docker.sock").display()));
    command.args([
        "--bridge=none",
        "--iptables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]);
    command.args(flags);
    let own = log.try_clone().expect("a log");
    command
        .stdin(Stdio::null())
        .stdout(own)
        .stderr(log)
        .spawn()
        .expect("dockerd starts")
}
