//! A child that runs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skep_engine::Exit;
use skep_spawner::{Failure, Identity, Joining, Launch, Own, Streams, TerminalSize};
use tokio::sync::{oneshot, watch};

use super::Shape;
use crate::cgroups::Freezer;
use crate::files;
use crate::launch::SOCKET;
use crate::sandbox::Sandbox;

/// Docker's path where nobody names one.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What one child is to run.
#[derive(Debug)]
pub struct ChildRun {
    /// Its id: the name of its cgroups.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// The command and its arguments.
    pub arguments: Vec<String>,
    /// Its own variables.
    pub environment: Vec<String>,
    /// Standard input, output and error; with a terminal the first is the socket that its master comes over.
    pub streams: [OwnedFd; 3],
    /// Rows and columns of its terminal.
    pub terminal: Option<(u16, u16)>,
    /// The mount namespace of its last run.
    pub root: Option<OwnedFd>,
    /// A Docker socket of its own, for the place where clients look for one.
    pub socket: Option<PathBuf>,
}

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
    /// As [`ChildRun::streams`].
    pub streams: [OwnedFd; 3],
    /// Rows and columns of its terminal.
    pub terminal: Option<(u16, u16)>,
}

/// Why a child does not run.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// What went wrong.
    pub message: String,
    /// The kernel's answer, where it was one.
    pub error: Option<i32>,
    /// Whether the child's own words are at fault.
    pub own: bool,
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self {
            message: failure.to_string(),
            error: Some(failure.error),
            own: failure.template,
        }
    }
}

fn broken(error: impl std::fmt::Display) -> RunError {
    RunError {
        message: error.to_string(),
        error: None,
        own: false,
    }
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
    shape: Arc<Shape>,
    name: String,
    launch: u64,
    /// The id of its first process, as this process sees it.
    pub process: u32,
    descriptor: OwnedFd,
    mounts: Option<OwnedFd>,
    freezer: Freezer,
    exit: watch::Receiver<Option<Exit>>,
    environment: Vec<String>,
    sandbox: Option<Sandbox>,
    /// Whether others are in its network who may stay there longer.
    joined: AtomicBool,
}

impl std::fmt::Debug for RunningChild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningChild({})", self.process)
    }
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        let joined = self.joined.load(Ordering::Acquire);
        match self.sandbox.take() {
            Some(sandbox) if joined => {
                self.shape.ground.gone();
                self.shape.ground.discard(&self.shape.shared, sandbox);
            }
            Some(sandbox) => self.shape.ground.give_back(sandbox),
            None => {}
        }
    }
}

/// A sandbox that is given back where nothing came of the run.
struct Taken<'a>(&'a Shape, Option<Sandbox>);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(sandbox) = self.1.take() {
            self.0.ground.give_back(sandbox);
        }
    }
}

impl Shape {
    /// Runs a child. It returns when the child's own program runs.
    ///
    /// # Errors
    /// What went wrong; nothing is left of the attempt.
    pub async fn run(self: &Arc<Self>, run: ChildRun) -> Result<RunningChild, RunError> {
        let (shared, plan) = (&self.shared, &self.plan);
        let sandbox = self.ground.take(shared, plan).await.map_err(broken)?;
        let mut taken = Taken(self, sandbox);
        let network = taken.1.as_ref().and_then(|sandbox| sandbox.network.as_ref());
        let own = || shared.grounds.networks.take(shared)?.descriptor().ok();
        let descriptor = match network {
            Some(network) => Some(network.descriptor().map_err(broken)?),
            None => own(),
        };
        let contents = files::contents(
            network,
            shared.resolv_conf(),
            &run.hostname,
            &files::names(&run.hostname, &plan.process.domain),
            &plan.extra_hosts,
        );
        let environment = environment(&run.hostname, run.terminal.is_some(), &run.environment);
        let request = Launch {
            spec: self.spec,
            name: run.name.clone(),
            hostname: run.hostname,
            environment: Vec::new(),
            files: contents,
            binds: run
                .socket
                .iter()
                .map(|socket| (socket.display().to_string(), SOCKET.to_owned()))
                .collect(),
            listener: None,
        };
        let own = Own {
            arguments: run.arguments,
            environment: environment.clone(),
            terminal: run.terminal.map(size),
            resumes: run.root.is_some(),
        };
        let [stdin, stdout, stderr] = run.streams;
        let streams = Streams {
            stdin,
            stdout,
            stderr,
            network: descriptor,
        };
        self.raise_cgroups().await?;
        let launched = shared.spawner.launch_own(request, own, streams, run.root).await?;
        let (ended, exit) = watch::channel(None);
        let exited = launched.exited;
        shared.tasks.spawn(async move {
            let exit = exited.await.map(|exited| Exit {
                code: exited.code.into(),
                out_of_memory: exited.out_of_memory,
            });
            // The sender closed means that the spawner has ended, and its children with it.
            ended.send_replace(Some(exit.unwrap_or(Exit {
                code: 137,
                out_of_memory: false,
            })));
        });
        let cgroups = shared.cgroups().map_err(broken)?;
        let mut freezer = cgroups.freezer(&plan.limits, &run.name);
        if let Some(file) = self.cgroup_file(&run.name, "freezer.state") {
            freezer.stands_at(file);
        }
        Ok(RunningChild {
            shape: self.clone(),
            name: run.name,
            launch: launched.id,
            process: launched.process,
            descriptor: launched.descriptor,
            mounts: launched.mounts,
            freezer,
            exit,
            environment,
            sandbox: taken.1.take(),
            joined: AtomicBool::new(false),
        })
    }
}

fn size((rows, columns): (u16, u16)) -> TerminalSize {
    TerminalSize { rows, columns }
}

/// A container's variables in Docker's order: its path and host name first, each name once.
fn environment(hostname: &str, terminal: bool, own: &[String]) -> Vec<String> {
    let mut all = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if terminal {
        all.push("TERM=xterm".to_owned());
    }
    overlaid(all, own)
}

fn overlaid(mut all: Vec<String>, over: &[String]) -> Vec<String> {
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

    /// The same, for another container that is to join it: no later child gets that network.
    pub fn join_network(&self) -> Option<&str> {
        self.joined.store(true, Ordering::Release);
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
