//! A child that runs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use skep_engine::Exit;
use skep_spawner::{Identity, Joining, Streams};
use skep_sys::NetworkNamespace;
use tokio::sync::{oneshot, watch};

use super::Shape;
use super::run::{RunError, size};
use crate::cgroups::Freezer;
use crate::sandbox::{NameFiles, Sandbox};

/// What joins a child.
#[derive(Debug)]
pub struct JoinRun {
    /// The command and its arguments.
    pub arguments: Vec<String>,
    /// Its variables, over the child's.
    pub environment: Vec<String>,
    /// The working directory; empty for the child's.
    pub directory: String,
    /// The user; empty for the child's.
    pub user: String,
    /// As [`super::ChildRun::streams`].
    pub streams: [OwnedFd; 3],
    /// Rows and columns of its terminal.
    pub terminal: Option<(u16, u16)>,
}

/// A process that joined a child.
#[derive(Debug)]
pub struct Joined {
    /// Its id, as this process sees it.
    pub process: u32,
    /// Says how it ended.
    pub exited: oneshot::Receiver<i32>,
}

/// A child's first process and what it stands in. Dropped, its sandbox is the next child's.
pub struct RunningChild {
    pub(super) shape: Arc<Shape>,
    pub(super) name: String,
    pub(super) launch: u64,
    /// The id of its first process, as this process sees it.
    pub process: u32,
    pub(super) descriptor: OwnedFd,
    pub(super) mounts: Option<OwnedFd>,
    pub(super) freezer: Freezer,
    pub(super) exit: watch::Receiver<Option<Exit>>,
    pub(super) environment: Vec<String>,
    pub(super) sandbox: Option<Sandbox>,
    /// Whether no later child gets its network: others are in it who may stay there longer, or it is not its shape's.
    pub(super) claimed: AtomicBool,
    /// Its network namespace, where it has no network.
    pub(super) own: Option<NetworkNamespace>,
    /// What its own address is called in its `/etc/hosts`.
    pub(super) names: String,
    /// The sandbox's files of names that its own were last made like.
    pub(super) seen: Mutex<NameFiles>,
}

impl std::fmt::Debug for RunningChild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningChild({})", self.process)
    }
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        let claimed = self.claimed.load(Ordering::Acquire);
        if let Some(sandbox) = self.sandbox.take() {
            self.shape.ground.leave(&self.shape.shared, sandbox, !claimed);
        }
        if let Some(own) = self.own.take()
            && self.exit.borrow().is_some()
        {
            self.shape.ground.keep_own(own);
        }
    }
}

pub(super) fn overlaid(mut all: Vec<String>, over: &[String]) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in over {
        let wanted = name(variable);
        let known = all.iter().position(|known| name(known) == wanted);
        match (known, variable.contains('=')) {
            (Some(index), true) => all[index].clone_from(variable),
            (Some(index), false) => drop(all.remove(index)),
            (None, true) => all.push(variable.clone()),
            (None, false) => {}
        }
    }
    all
}

impl RunningChild {
    /// Sends a signal to its first process.
    ///
    /// # Errors
    /// That it has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        skep_sys::send_signal(self.descriptor.as_fd(), signal)
    }

    /// Lets all its processes stand still, or go on.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        self.freezer.set(frozen)
    }

    /// Waits for its end.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.map(|exit| *exit);
        ended.ok().flatten().unwrap_or(Exit {
            code: 137,
            out_of_memory: false,
        })
    }

    /// The mount namespace that its root is in, held open.
    pub fn mounts(&self) -> Option<OwnedFd> {
        self.mounts.as_ref().and_then(|mounts| mounts.try_clone().ok())
    }

    /// The Docker container that holds its network.
    pub fn network_container(&self) -> Option<&str> {
        self.sandbox.as_ref().map(|sandbox| sandbox.container.as_str())
    }

    /// The same, for whoever joins that network or changes it: no later child gets it.
    pub fn claim_network(&self) -> Option<&str> {
        self.claimed.store(true, Ordering::Release);
        self.network_container()
    }

    /// A file of its cgroups, where there is one of that name.
    pub fn cgroup_file(&self, file: &str) -> Option<PathBuf> {
        self.shape.cgroup_file(&self.name, file)
    }

    /// Makes one more process in it.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn join(&self, run: JoinRun) -> Result<Joined, RunError> {
        let process = &self.shape.plan.process;
        let mut environment = self.environment.clone();
        if run.terminal.is_some() {
            environment = overlaid(environment, &["TERM=xterm".to_owned()]);
        }
        let own = |text: String, otherwise: &str| {
            if text.is_empty() {
                otherwise.to_owned()
            } else {
                text
            }
        };
        let groups = if run.user.is_empty() {
            process.identity.groups.clone()
        } else {
            Vec::new()
        };
        let joining = Joining {
            instance: self.launch,
            arguments: run.arguments,
            environment: overlaid(environment, &run.environment),
            directory: own(run.directory, &process.directory),
            identity: Identity {
                user: own(run.user, &process.identity.user),
                groups,
            },
            terminal: run.terminal.map(size),
        };
        let [stdin, stdout, stderr] = run.streams;
        let streams = Streams {
            stdin,
            stdout,
            stderr,
            network: None,
        };
        let joined = self.shape.shared.spawner.join(joining, streams).await?;
        let (ended, exited) = oneshot::channel();
        self.shape.shared.tasks.spawn(async move {
            let code = joined.exited.await.map_or(137, |exited| exited.code);
            let _nobody_asks = ended.send(code);
        });
        Ok(Joined {
            process: joined.process,
            exited,
        })
    }
}
