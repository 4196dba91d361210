//! One child: what it is, which never changes but for its name, and what it is doing.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use skep_grant::Refusal;
use skep_lean::RunningChild;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};

use super::ahead::Coming;
use super::create::failed;
use super::log::Log;
use super::run::broke_off;
use super::shapes::Request;
use super::{journal, lock};

/// What a child is doing, in Docker's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Created,
    Running,
    Paused,
    Exited,
    Removed,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::Removed => "removing",
        }
    }

    pub(crate) fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// What it is doing and how it ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doing {
    pub(crate) status: Status,
    pub(super) code: i64,
    pub(super) error: String,
    pub(super) out_of_memory: bool,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
    /// How often it ran to an end.
    pub(super) ends: u64,
    /// What it runs as.
    pub(super) running: Option<Arc<RunningChild>>,
    /// The mount namespace that its files are in, from its first run on.
    pub(super) mounts: Option<Arc<OwnedFd>>,
    /// Its terminal.
    pub(super) master: Option<Arc<OwnedFd>>,
    /// What Docker says of its network.
    pub(super) network: Option<Value>,
}

/// Who follows its output live.
pub(super) type Follower = mpsc::Sender<(u8, Bytes)>;

#[derive(Debug)]
pub(crate) struct LeanChild {
    pub(super) id: String,
    pub(super) folder: PathBuf,
    pub(super) name: Mutex<String>,
    /// Its networks by their names, the one that it starts with first, once they were changed.
    pub(super) networks: Mutex<Option<Vec<String>>>,
    /// Held by who writes it down anew.
    writing: Mutex<()>,
    /// What `inspect` shows of it that never changes.
    pub(super) inspect: Value,
    /// What it is made from.
    pub(super) request: Request,
    /// Its own labels and Skep's.
    pub(super) labels: Value,
    pub(super) created: Timestamp,
    pub(super) log: Log,
    pub(super) followers: Mutex<Vec<Follower>>,
    pub(super) input: tokio::sync::Mutex<Option<pipe::Sender>>,
    /// Bytes in its files, as they were last measured.
    pub(super) used: AtomicU64,
    /// Bytes of what it is made from and shown with, which are kept in memory.
    pub(super) weight: u64,
    /// What is prepared of it, until it is first started.
    pub(super) ahead: Mutex<Option<Coming>>,
    /// Who starts, stops or removes it, one at a time.
    pub(super) busy: tokio::sync::Mutex<()>,
    doing: watch::Sender<Doing>,
}

fn names(list: &Value) -> Option<Vec<String>> {
    let names = list.as_array()?.iter().filter_map(Value::as_str);
    Some(names.map(str::to_owned).collect())
}

impl LeanChild {
    /// A child as it was written down.
    pub(super) fn read(folder: PathBuf, facts: &Value, last: &Value) -> Option<Self> {
        let text = |at: &str| facts.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let id = text("/inspect/Id")?;
        let time = |at: &str| {
            last.pointer(at)
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok())
        };
        let doing = Doing {
            status: match last.get("status").and_then(Value::as_str) {
                None | Some("created") => Status::Created,
                Some("running" | "paused") => Status::Running,
                Some(_) => Status::Exited,
            },
            code: last.get("code").and_then(Value::as_i64).unwrap_or(0),
            error: last
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            out_of_memory: last.get("oom").and_then(Value::as_bool).unwrap_or(false),
            started: time("/started"),
            finished: time("/finished"),
            ..Doing::default()
        };
        Some(Self {
            log: Log::open(&folder),
            folder,
            name: Mutex::new(text("/name")?),
            networks: Mutex::new(facts.get("networks").and_then(names)),
            writing: Mutex::default(),
            created: text("/inspect/Created")?.parse().ok()?,
            inspect: facts.get("inspect")?.clone(),
            request: Request::read(facts.get("request")?)?,
            labels: facts.get("labels")?.clone(),
            followers: Mutex::default(),
            input: tokio::sync::Mutex::default(),
            used: AtomicU64::new(0),
            weight: facts.to_string().len() as u64,
            ahead: Mutex::default(),
            busy: tokio::sync::Mutex::default(),
            doing: watch::Sender::new(doing),
            id,
        })
    }

    /// All that is written down of it.
    pub(super) fn facts(&self) -> Value {
        json!({
            "inspect": self.inspect, "name": *lock(&self.name), "request": self.request.written(),
            "labels": self.labels, "networks": *lock(&self.networks),
        })
    }

    /// Writes all of it down anew.
    pub(super) async fn write_down(self: &Arc<Self>) -> Result<(), Refusal> {
        let kept = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = lock(&kept.writing);
            journal::change(&kept.folder, &kept.facts())
        });
        let written = written.await.map_err(|_| broke_off())?;
        written.map_err(|error| failed(&format!("what changed can't be written down: {error}")))
    }

    pub(crate) fn doing(&self) -> Doing {
        self.doing.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Doing> {
        self.doing.subscribe()
    }

    /// Changes what it is doing, written down first.
    pub(super) fn change(&self, change: impl FnOnce(&mut Doing)) {
        let mut now = self.doing();
        change(&mut now);
        let line = json!({
            "status": now.status.word(), "code": now.code, "error": now.error, "oom": now.out_of_memory,
            "started": now.started.map(|time| time.to_string()), "finished": now.finished.map(|time| time.to_string()),
        });
        if now.status != Status::Removed
            && let Err(error) = journal::happened(&self.folder, &line)
        {
            tracing::warn!(container = self.id, %error, "what happened to a child could not be written down");
        }
        self.doing.send_replace(now);
    }

    /// The container that holds its network, for another to join it.
    pub(crate) fn network_to_join(&self) -> Result<String, Refusal> {
        let running = self.doing().running;
        let running = running.ok_or_else(|| Refusal {
            status: 409,
            message: format!("cannot join network of a non running container: {}", self.id),
        })?;
        if let Some(container) = self.request.joined() {
            return Ok(container.to_owned());
        }
        let container = running.claim_network().map(str::to_owned);
        container.ok_or_else(|| {
            Refusal::forbidden(format!(
                "{} has no network, and the lean engine lets nobody join it there; skep.engine=docker on the function \
                 makes its children containers of Docker's",
                self.id
            ))
        })
    }

    /// The bytes in its files, as they are now where they are still there.
    pub(crate) async fn measure(&self) -> u64 {
        let mounts = self.doing.borrow().mounts.clone();
        let used = match mounts {
            Some(mounts) => super::archive::used(&mounts).await,
            None => 0,
        };
        self.used.store(used, Ordering::Relaxed);
        used
    }

    /// What `inspect` shows of it that never changes.
    pub(crate) fn settled(&self) -> &Value {
        &self.inspect
    }

    pub(super) fn flag(&self, at: &str) -> bool {
        self.inspect.pointer(at).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn text(&self, at: &str) -> &str {
        self.inspect
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn texts(&self, at: &str) -> Vec<String> {
        let list = self.inspect.pointer(at).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// The folder of its own socket, where it has one.
    pub(super) fn socket(&self) -> Option<&str> {
        let folder = self.labels.get(crate::labels::SOCKET)?.as_str();
        folder.filter(|folder| !folder.is_empty())
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.flag("/Config/Tty")
    }

    pub(super) fn removes_itself(&self) -> bool {
        self.flag("/HostConfig/AutoRemove")
    }

    pub(super) fn followers(&self) -> MutexGuard<'_, Vec<Follower>> {
        lock(&self.followers)
    }
}
