//! A variant of the voting app, brought up as its readers are told to: with
//! `skep serve` and `skep deploy`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Five services that always run.
    Classic,
    /// A database and three functions.
    Serverless,
}

impl Variant {
    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Serverless => "serverless",
        }
    }
}

/// A running app. Dropping it ends Skep and removes what it made.
#[derive(Debug)]
pub struct App {
    /// The page that takes votes.
    pub vote: String,
    /// The page that shows the result.
    pub result: String,
    // Before the clean-up: what is removed must not be made again.
    skep: Skep,
    _clean_up: CleanUp,
}

impl App {
    /// Starts a Skep and deploys the variant on it.
    pub async fn start(variant: Variant) -> anyhow::Result<Self> {
        let name = format!("voting-{}-{:x}", variant.name(), std::process::id());
        let clean_up = CleanUp {
            project: name.clone(),
            namespace: name.clone(),
        };
        let skep = Skep::start(&name).await?;
        let compose = repository()
            .join("examples/voting")
            .join(variant.name())
            .join("compose.yaml");
        let (vote_port, result_port) = (free_port()?, free_port()?);

        let deploy = tokio::process::Command::new(skep_binary()?)
            .arg("deploy")
            .arg("-f")
            .arg(&compose)
            .args(["-p", &name, "--namespace", &name, "--control", &skep.control])
            .env("VOTE_PORT", vote_port.to_string())
            .env("RESULT_PORT", result_port.to_string())
            .stdin(Stdio::null())
            .output()
            .await?;
        if !deploy.status.success() {
            let said = String::from_utf8_lossy(&deploy.stderr);
            bail!(
                "skep deploy failed ({}):\n{said}\nskep serve said:\n{}",
                deploy.status,
                skep.log()
            );
        }
        let (vote, result) = match variant {
            Variant::Classic => (
                format!("http://127.0.0.1:{vote_port}/"),
                format!("http://127.0.0.1:{result_port}/"),
            ),
            Variant::Serverless => (format!("{}/vote", skep.listen), format!("{}/result", skep.listen)),
        };
        Ok(Self {
            vote,
            result,
            skep,
            _clean_up: clean_up,
        })
    }

    /// What Skep has said so far.
    pub fn log(&self) -> String {
        self.skep.log()
    }
}

/// A `skep serve` and where it listens.
#[derive(Debug)]
struct Skep {
    listen: String,
    control: String,
    process: Child,
    log: Arc<Mutex<String>>,
    _data: TempDir,
}

impl Skep {
    async fn start(namespace: &str) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut process = tokio::process::Command::new(skep_binary()?)
            .args(["serve", "--namespace", namespace, "--listen", "127.0.0.1:0"])
            .args(["--control", "127.0.0.1:0", "--call-port", "0", "--data-dir"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = process
            .stderr
            .take()
            .context("skep serve has no standard error")?;
        let mut lines = BufReader::new(said).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut listen, mut control) = (None, None);
        while listen.is_none() || control.is_none() {
            let Some(line) = lines.next_line().await? else {
                bail!("skep serve ended before it listened:\n{}", lock(&log));
            };
            listen = listen.or_else(|| address_after("listening on ", &line));
            control = control.or_else(|| address_after("control on ", &line));
            note(&log, &line);
        }
        // Read to the end, or Skep would wait for room in the pipe. The task
        // ends with the process, whose end of the pipe it reads.
        let more = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                note(&more, &line);
            }
        });
        let (listen, control) = listen.zip(control).context("skep serve told no addresses")?;
        Ok(Self {
            listen,
            control,
            process,
            log,
            _data: data,
        })
    }

    fn log(&self) -> String {
        lock(&self.log)
    }
}

impl Drop for Skep {
    /// Asks first, so that Skep removes its own instances.
    fn drop(&mut self) {
        let Some(pid) = self.process.id() else { return };
        let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
            return;
        };
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let give_up = Instant::now() + Duration::from_secs(20);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What carries the project's and the namespace's labels goes.
#[derive(Debug)]
struct CleanUp {
    project: String,
    namespace: String,
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        let labels = [
            format!("label=com.docker.compose.project={}", self.project),
            format!("label=skep.namespace={}", self.namespace),
        ];
        // Networks and volumes can go only after what uses them.
        for (list, remove) in [
            (&["ps", "-aq"][..], &["rm", "-f", "-v"][..]),
            (&["network", "ls", "-q"], &["network", "rm"]),
            (&["volume", "ls", "-q"], &["volume", "rm"]),
        ] {
            for label in &labels {
                let Ok(found) = Command::new("docker")
                    .args(list)
                    .args(["--filter", label])
                    .output()
                else {
                    return;
                };
                let found = String::from_utf8_lossy(&found.stdout).into_owned();
                let ids: Vec<&str> = found.split_whitespace().collect();
                if !ids.is_empty() {
                    let _ = Command::new("docker")
                        .args(remove)
                        .args(ids)
                        .stdout(Stdio::null())
                        .status();
                }
            }
        }
    }
}

fn note(log: &Mutex<String>, line: &str) {
    if let Ok(mut log) = log.lock() {
        log.push_str(line);
        log.push('\n');
    }
}

fn lock(log: &Mutex<String>) -> String {
    log.lock().map(|log| log.clone()).unwrap_or_default()
}

/// The address that follows `words` in a line of `skep serve`.
fn address_after(words: &str, line: &str) -> Option<String> {
    let (_, rest) = line.split_once(words)?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// A port that nobody has at this moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `SKEP_BIN`, or the binary beside this test's own folder.
fn skep_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKEP_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let beside = test
        .ancestors()
        .nth(2)
        .context("the test is in no target folder")?
        .join("skep");
    if !beside.exists() {
        bail!(
            "{} is missing: build it with `cargo build -p skep`",
            beside.display()
        );
    }
    Ok(beside)
}
