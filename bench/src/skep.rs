//! A `skep serve` of the bench's own: its own namespace, data and ports; it ends with the value.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::load;

pub(crate) struct Serve {
    child: Child,
    pub(crate) namespace: String,
    pub(crate) listen: SocketAddr,
    data: tempfile::TempDir,
}

impl Serve {
    pub(crate) fn namespace() -> String {
        format!("bench-{}", &uuid::Uuid::now_v7().simple().to_string()[20..])
    }

    pub(crate) fn start(binary: &Path, namespace: String) -> anyhow::Result<Self> {
        // The data lies beside the build, on a real disk: in a tmpfs an fsync costs nothing and proves nothing.
        let data = tempfile::tempdir_in(binary.parent().context("the binary lies in a folder")?)?;
        let mut child = Command::new(binary)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--control",
                "127.0.0.1:0",
                "--call-port",
                "0",
            ])
            .args(["--namespace", &namespace, "--data-dir"])
            .arg(data.path())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "{} can't be run; `cargo build --release` makes it",
                    binary.display()
                )
            })?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
        let mut listen = None;
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if let Some(url) = line.split("listening on http://").nth(1) {
                listen = Some(url.trim().parse()?);
            }
            said.push_str(&line);
            said.push('\n');
            if line.trim_end().ends_with("ready") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let listen = listen.with_context(|| format!("skep serve did not start: {said}"))?;
        Ok(Self {
            child,
            namespace,
            listen,
            data,
        })
    }

    /// Where it keeps its files.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a request to the path is answered with 200.
    pub(crate) fn wait_for(&self, path: &str) -> anyhow::Result<()> {
        load::first_answer(self.listen, path, Duration::from_secs(30)).map(drop)
    }

    /// Drains and ends.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.signal("-TERM")?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > Duration::from_secs(60) {
                bail!(
                    "skep serve did not drain within 60 s; its data is in {}",
                    self.data.path().display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        crate::docker::run(Command::new("kill").args([signal, &self.pid().to_string()])).map(drop)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let ended = matches!(self.child.try_wait(), Ok(Some(_)));
        if !ended && self.child.kill().is_ok() {
            let _reaped = self.child.wait();
        }
    }
}
