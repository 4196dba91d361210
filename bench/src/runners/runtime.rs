//! An OCI runtime called directly, with a bundle of the same files.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{PATIENCE, PAUSE, Runner, Work, first_answer_in};
use crate::docker::run;

pub(crate) struct Runtime {
    program: &'static str,
    work: Work,
    bundle: PathBuf,
    count: u32,
}

impl Runtime {
    /// Whether it is installed, and makes a container on this machine; why not is said.
    pub(crate) fn works(program: &'static str, work: &Work) -> bool {
        let tried = Self::new(program, work).and_then(|mut runtime| runtime.once());
        if let Err(error) = &tried {
            eprintln!("{program} is left out: {error}");
        }
        tried.is_ok()
    }

    pub(crate) fn new(program: &'static str, work: &Work) -> anyhow::Result<Self> {
        let bundle = work.scratch.join(format!("{program}-{}", work.stream));
        std::fs::create_dir_all(&bundle)?;
        let file = bundle.join("config.json");
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        run(Command::new(program).args(["spec", "--bundle"]).arg(&bundle))?;
        let spec: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        std::fs::write(&file, configured(spec, work)?.to_string())?;
        Ok(Self {
            program,
            work: work.clone(),
            bundle,
            count: 0,
        })
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.program);
        command.arg(verb);
        command
    }

    /// Starts the server, and waits for its first answer.
    fn serve(&self, name: &str) -> anyhow::Result<()> {
        let file = self.bundle.join("pid");
        let mut child = self
            .command("run")
            .arg("--bundle")
            .arg(&self.bundle)
            .arg("--pid-file")
            .arg(&file)
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let process = wait_for_process(&mut child, &file)?;
        std::fs::remove_file(&file)?;
        let network = PathBuf::from(format!("/proc/{process}/ns/net"));
        first_answer_in(self.work.network.as_ref().unwrap_or(&network), self.work.port())
    }
}

fn wait_for_process(child: &mut Child, file: &std::path::Path) -> anyhow::Result<u32> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Ok(process) = text.trim().parse() {
            return Ok(process);
        }
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("the runtime ended: {status}");
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "the runtime started nothing");
        std::thread::sleep(PAUSE);
    }
}

impl Runner for Runtime {
    fn once(&mut self) -> anyhow::Result<Duration> {
        self.count += 1;
        let name = format!(
            "skep-bench-{}-{}-{}",
            std::process::id(),
            self.work.stream,
            self.count
        );
        let began = Instant::now();
        if self.work.command.is_some() {
            run(self.command("run").arg("--bundle").arg(&self.bundle).arg(&name))?;
            return Ok(began.elapsed());
        }
        let answered = self.serve(&name);
        let time = began.elapsed();
        // `run` stays with its container, and reports its end.
        run(self.command("delete").arg("--force").arg(&name))?;
        answered.map(|()| time)
    }
}

/// The runtime's own example, made to run the work with a memory limit.
fn configured(mut spec: Value, work: &Work) -> anyhow::Result<Value> {
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(work.arguments());
    spec["process"]["env"] = json!([format!("PORT={}", work.port())]);
    spec["root"] = json!({ "path": work.root, "readonly": true });
    spec["linux"]["resources"]["memory"] = json!({ "limit": 128 << 20 });
    let namespaces = spec["linux"]["namespaces"].as_array_mut().context("namespaces")?;
    namespaces.retain(|namespace| namespace["type"] != "network");
    let mut network = json!({ "type": "network" });
    if let Some(path) = &work.network {
        network["path"] = json!(path);
    }
    namespaces.push(network);
    Ok(spec)
}
