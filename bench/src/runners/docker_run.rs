//! `docker run`, as one types it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Runner, Work, first_answer_in};
use crate::docker::{IMAGE, PORT, run};

pub(crate) struct DockerRun {
    work: Work,
}

impl DockerRun {
    pub(crate) fn new(work: &Work) -> Self {
        Self { work: work.clone() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        let network = match &self.work.network {
            Some(_) => "bridge",
            None => "none",
        };
        command.args(["run", "--rm", "--network", network]);
        command
    }
}

impl Runner for DockerRun {
    fn once(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        if self.work.command.is_some() {
            run(self.command().arg(IMAGE).args(self.work.arguments()))?;
            return Ok(began.elapsed());
        }
        let id = run(self.command().args(["-d", IMAGE]))?;
        let id = id.trim();
        let process = run(Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", id]))?;
        let network = format!("/proc/{}/ns/net", process.trim());
        let answered = first_answer_in(Path::new(&network), PORT);
        let time = began.elapsed();
        run(Command::new("docker").args(["rm", "-f", id]))?;
        answered.map(|()| time)
    }
}
